#!/usr/bin/env python3
"""policies.py FILE...: the tables of pushforward_policies_benchmark's lines, as Markdown. A verdict is of the
posterior step's PSNR against another method's on the same images, by a paired bootstrap of 95 %."""
import json
import random
import sys


def mean(values):
    return sum(values) / len(values)


def verdict(a, b):
    draw = random.Random(1)
    n = len(a)
    means = sorted(mean([a[i] - b[i] for i in (draw.randrange(n) for _ in range(n))]) for _ in range(2000))
    low, high = means[50], means[1949]
    word = "better" if low > 0 else "worse" if high < 0 else "not told apart"
    return f"{word} ({low:+.2f} to {high:+.2f})"


def main(files):
    rows = {}
    for name in files:
        with open(name) as lines:
            for line in lines:
                row = json.loads(line)
                if row["role"] == "tested":
                    rows[row["task"], row["budget"], row["method"]] = row
    for task, budget in sorted({key[:2] for key in rows}):
        here = {key[2]: row for key, row in rows.items() if key[:2] == (task, budget)}
        own = here.get("posterior step")
        print(f"\n### {task}, {budget} passes\n")
        print("| method | setting | passes | PSNR, dB | SSIM | constraint RMSE | the posterior step is |")
        print("|---|---|---:|---:|---:|---:|---|")
        for method, row in sorted(here.items(), key=lambda item: -mean(item[1]["psnr"])):
            said = verdict(own["psnr"], row["psnr"]) if own and row is not own else ""
            print(f"| {method} | {row['setting']} | {row['passes']:.0f} | {mean(row['psnr']):.2f} | "
                  f"{mean(row['ssim']):.3f} | {mean(row['rmse']):.4f} | {said} |")


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        sys.exit(0 if len(sys.argv) > 1 else 2)
    main(sys.argv[1:])
