"""Reads the animations that report.cpp wrote, with Pillow."""

import pathlib
import sys

from PIL import Image

folder = pathlib.Path(sys.argv[1])


def check(holds, what):
    if not holds:
        sys.exit(f"animations.py: {what}")


for name, n, mode in (("colour", 5, "RGB"), ("grey", 5, "L"), ("single", 1, "RGB")):
    animation = Image.open(folder / f"{name}.apng")
    check(getattr(animation, "n_frames", 1) == n, f"{name} has {getattr(animation, 'n_frames', 1)} frames")
    check(animation.info["loop"] == 0, f"{name} does not repeat")
    for i in range(n):
        animation.seek(i)
        animation.load()
        wanted = Image.open(folder / f"{'colour' if mode == 'RGB' else 'grey'}{i}.png")
        check(animation.convert(mode).tobytes() == wanted.tobytes(), f"{name}: frame {i} has other pixels")
        check(animation.info["duration"] == (2500.0 if i == n - 1 else 120.0), f"{name}: frame {i} is shown for {animation.info['duration']} ms")
