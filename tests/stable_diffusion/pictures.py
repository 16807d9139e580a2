"""Pictures that Pillow wrote, and what Pillow reads from them; its antialiased cubic resize."""

from oracle import folder, numbers, save

import numpy as np
import torch
from PIL import Image, ImageOps

out = folder()

# a smooth colour picture with some noise: both halves of JPEG's coding have something to do
y, x = np.mgrid[0:37, 0:53]
colour = np.stack([128 + 100 * np.sin(x / 9), 128 + 100 * np.cos(y / 7), 3 * x + 2 * y], -1)
colour = (colour + numbers("colour", *colour.shape, deviation=5.0).numpy()).clip(0, 255).astype(np.uint8)
rgb = Image.fromarray(colour)
alpha = rgb.copy()
alpha.putalpha(Image.fromarray(np.where(x < 20, 0, 255).astype(np.uint8)))
deep = Image.fromarray((x * 1200 + y).astype(np.uint16))
wanted = {}


def png(name, image, expected):
    image.save(out / f"{name}.png")
    wanted[f"{name}.png"] = torch.from_numpy(np.array(expected.convert("RGB"))).clone()


white = Image.new("RGB", rgb.size, "white")
white.paste(alpha, mask=alpha.getchannel("A"))
png("rgb", rgb, rgb)
png("grey", rgb.convert("L"), rgb.convert("L"))
png("palette", rgb.quantize(64), rgb.quantize(64))
png("alpha", alpha, white)
png("bits", rgb.convert("1"), rgb.convert("1"))
png("deep", deep, Image.fromarray(np.round(np.array(deep) / 257).astype(np.uint8)))


def jpeg(name, image, **options):
    path = out / f"{name}.jpg"
    image.save(path, quality=90, **options)
    read = ImageOps.exif_transpose(Image.open(path))
    wanted[f"{name}.jpg"] = torch.from_numpy(np.array(read.convert("RGB"))).clone()


jpeg("whole", rgb)
jpeg("fine", rgb, subsampling=0)
jpeg("progressive", rgb, progressive=True)
jpeg("grey", rgb.convert("L"))
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    jpeg(f"turned{orientation}", rgb, exif=exif)
rgb.convert("CMYK").save(out / "cmyk.jpg")
Image.new("L", (9000, 1)).save(out / "wide.jpg")
Image.new("L", (1, 9000)).save(out / "tall.png")

save(out / "wanted.safetensors", wanted)

# resize, channel by channel in float32
channels = [Image.fromarray(colour[..., c].astype(np.float32) / 127.5 - 1) for c in range(3)]
sizes = {"smaller": (16, 24), "larger": (40, 56), "mixed": (24, 56)}
save(out / "resized.safetensors",
     {name: torch.from_numpy(np.stack([np.array(c.resize((w, h), Image.Resampling.BICUBIC)) for c in channels])).clamp(-1, 1)
      for name, (h, w) in sizes.items()})
