#!/usr/bin/env python3
"""policies.py FILE... [--figures FOLDER]: the tables of the policies' benchmarks from their lines, as Markdown, and a
figure for each task as SVG (with matplotlib). A method is better or worse than the posterior step where a paired
bootstrap of 95 % over the same images says so, else not told apart (=). All lines must be of the same denoiser, images and
options, as each says itself."""
import argparse
import collections
import json
import math
import os
import pathlib
import random
import sys

OWN = "posterior step"
# what quality is: name, factor, digits, whether more is better
QUALITIES = {"kept": ("labels kept, %", 100.0, 1, True), "psnr": ("PSNR, dB", 1.0, 2, True),
             "ssim": ("SSIM", 1.0, 3, True), "energy": ("energy distance", 1.0, 3, False),
             "rmse": ("RMSE of the residual", 1.0, 4, False), "frechet": ("Frechet distance", 1.0, 2, False)}


def mean(values):
    return sum(values) / len(values)


def told_apart(a, b, more_is_better):
    """+ where a is better than b, - where it is worse, = where they are not told apart; with the interval."""
    draw = random.Random(1)
    n = len(a)
    means = sorted(mean([a[i] - b[i] for i in (draw.randrange(n) for _ in range(n))]) for _ in range(1000))
    low, high = means[25], means[974]
    if not more_is_better:
        low, high = -high, -low
    return ("+" if low > 0 else "-" if high < 0 else "="), low, high


def refuse(why):
    print("policies.py: " + why, file=sys.stderr)
    sys.exit(2)


def same_run(of, first, where):
    for name in {**first, **of}:
        if of.get(name) != first.get(name):
            refuse(f"{where} is of another run: its {name} is {of.get(name, 'absent')}, that of the first "
                   f"{first.get(name, 'absent')}; make their tables one by one")


def require_numbers(row, name, where):
    if name not in row:
        refuse(f"{where} has no {name}")
    if not values(row, name) or not all(isinstance(v, (int, float)) and math.isfinite(v) for v in values(row, name)):
        refuse(f"{where} has {name} that is no finite number")


def same_fields(row, first, where):
    """Of a line on tested images: the qualities that the first has, for as many images."""
    for name, kind in (("task", str), ("budget", int), ("method", str), ("setting", str)):
        if not isinstance(row.get(name), kind):
            refuse(f"{where} has no {name}")
    present = [q for q in QUALITIES if q in first]
    if not {"kept", "psnr", "energy"} & set(present):
        refuse(f"{where} has none of kept, psnr and energy")
    for name in present:
        require_numbers(row, name, where)
        if len(values(row, name)) != len(values(first, name)):
            refuse(f"{where} has {len(values(row, name))} of {name}, the first line {len(values(first, name))}")


def read(files):
    """(task, budget, method) -> line, of those on tested images; the same of those restored again, for diversity; the tasks
    in their order"""
    rows, again, tasks, of, first = {}, {}, [], None, None
    for name in files:
        with open(name, encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                where = f"{name}, line {number}:"
                if line.isspace():
                    continue
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    refuse(f"{where} is no line of JSON; one that was cut short goes when the program is run again")
                if not isinstance(row, dict) or not isinstance(row.get("of"), dict) or "role" not in row:
                    refuse(f"{where} does not say what it is of, and its role")
                of = of or row["of"]
                same_run(row["of"], of, where)
                if row["role"] == "again":
                    require_numbers(row, "diversity", where)
                    again[row.get("task"), row.get("budget"), row.get("method")] = row
                if row["role"] == "tested":
                    first = first or row
                    same_fields(row, first, where)
                    same = rows.get((row["task"], row["budget"], row["method"]), row)
                    if same["setting"] != row["setting"]:
                        refuse(f"{where} has {row['method']} at {row['budget']} passes with another setting than a line before "
                               "it, as settings were chosen at other budgets (--tuned-at): use a file for each choice")
                    rows[row["task"], row["budget"], row["method"]] = row
                    if row["task"] not in tasks:
                        tasks.append(row["task"])
    return rows, again, tasks


def values(row, quality):
    found = row[quality]
    return found if isinstance(found, list) else [found]


def cell(row, own, quality):
    if row is None:
        return ""
    name, factor, digits, more = QUALITIES[quality]
    text = f"{factor * mean(values(row, quality)):.{digits}f}"
    if own is None or row is own or not isinstance(row[quality], list):
        return text
    return f"{text} {told_apart(values(row, quality), values(own, quality), more)[0]}"


def tables(rows, tasks):
    sample = next(iter(rows.values()))
    present = [q for q in QUALITIES if q in sample]
    main = "kept" if "kept" in present else "psnr" if "psnr" in present else "energy"
    for quality in [main] + [q for q in present if q != main]:
        name = QUALITIES[quality][0]
        for budget in sorted({key[1] for key in rows}):
            methods = sorted({key[2] for key in rows if key[1] == budget})
            served = {m: [t for t in tasks if (t, budget, m) in rows] for m in methods}
            sign = -1 if QUALITIES[quality][3] else 1
            ranked = sorted(methods, key=lambda m: (  # those for some of the tasks last
                -len(served[m]), sign * mean([mean(values(rows[t, budget, m], quality)) for t in served[m]])))
            print(f"\n### {name}, {budget} passes\n")
            print("| method | " + " | ".join(tasks) + " |")
            print("|---|" + "---:|" * len(tasks))
            for m in ranked:
                cells = [cell(rows.get((t, budget, m)), rows.get((t, budget, OWN)) if quality == main else None,
                              quality) for t in tasks]
                print(f"| {m} | " + " | ".join(cells) + " |")
    settings(rows, tasks)
    verdicts(rows, tasks, main)
    return main


def diversity(again, tasks):
    """Mean distance of two samples of one measurement."""
    for budget in sorted({key[1] for key in again}):
        print(f"\n### Diversity, {budget} passes\n")
        print("| method | " + " | ".join(tasks) + " |")
        print("|---|" + "---:|" * len(tasks))
        for m in sorted({key[2] for key in again if key[1] == budget}):
            found = [again.get((t, budget, m)) for t in tasks]
            print(f"| {m} | " + " | ".join(f"{mean(values(r, 'diversity')):.2f}" if r else "" for r in found) + " |")


def memory(rows, tasks):
    """How far resident memory rose in a run, of all images at once; lines of before it was measured have none."""
    for budget in sorted({key[1] for key in rows}):
        found = {m: [rows.get((t, budget, m), {}).get("peak_bytes") for t in tasks]
                 for m in sorted({key[2] for key in rows if key[1] == budget})}
        if any(b is not None for row in found.values() for b in row):
            print(f"\n### Peak memory of a run, MB, {budget} passes\n")
            print("| method | " + " | ".join(tasks) + " |")
            print("|---|" + "---:|" * len(tasks))
            for m, row in found.items():
                print(f"| {m} | " + " | ".join("" if b is None else f"{b / 1e6:.0f}" for b in row) + " |")


def settings(rows, tasks):
    print("\n### Settings that were chosen\n")
    print("| method | passes | " + " | ".join(tasks) + " |")
    print("|---|---:|" + "---|" * len(tasks))
    for budget in sorted({key[1] for key in rows}):
        for m in sorted({key[2] for key in rows if key[1] == budget}):
            cells = [rows[t, budget, m]["setting"] if (t, budget, m) in rows else "" for t in tasks]
            if any(cells):
                print(f"| {m} | {budget} | " + " | ".join(cells) + " |")


def verdicts(rows, tasks, quality):
    """The posterior step at few passes beside the others at more."""
    more = QUALITIES[quality][3]
    print(f"\n### Verdicts, {QUALITIES[quality][0]}\n")
    print("The posterior step is + better, - worse, = not told apart; in parentheses the interval of the difference.\n")
    print("| its passes | of | passes | " + " | ".join(tasks) + " |")
    print("|---:|---|---:|" + "---|" * len(tasks))
    for few, many in ((40, 40), (40, 100), (100, 100), (100, 220)):
        for m in sorted({key[2] for key in rows if key[1] == many and not key[2].startswith(OWN)}):
            cells = []
            for t in tasks:
                own, other = rows.get((t, few, OWN)), rows.get((t, many, m))
                if own is None or other is None:
                    cells.append("")
                    continue
                mark, low, high = told_apart(values(own, quality), values(other, quality), more)
                factor, digits = QUALITIES[quality][1:3]
                cells.append(f"{mark} ({factor * low:+.{digits}f} to {factor * high:+.{digits}f})")
            if any(cells):
                print(f"| {few} | {m} | {many} | " + " | ".join(cells) + " |")


def figures(rows, tasks, quality, folder):
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "policies"})
    from matplotlib import pyplot
    folder.mkdir(parents=True, exist_ok=True)
    name, factor, _, more = QUALITIES[quality]
    for task in tasks:
        lines = collections.defaultdict(list)
        for (t, budget, method), row in rows.items():
            if t == task and method != "plain sampling":
                lines[method].append((budget, factor * mean(values(row, quality))))
        figure, axes = pyplot.subplots(figsize=(7.6, 4.0), layout="constrained")
        axes.set_prop_cycle(color=pyplot.get_cmap("tab20").colors)
        for method, points in sorted(lines.items(), key=lambda item: (item[0] != OWN, item[0])):
            points.sort()
            axes.plot(*zip(*points), marker="o", markersize=3, label=method, linewidth=2.4 if method == OWN else 1.0,
                      linestyle="--" if method.startswith(OWN + ",") else "-", color="black" if method == OWN else None)
        axes.set(xscale="log", xlabel="passes (a backward pass counts two)", ylabel=name, title=task)
        axes.set_xticks(sorted({key[1] for key in rows}), [str(b) for b in sorted({key[1] for key in rows})])
        axes.minorticks_off()
        if not more:
            axes.set_yscale("log")
        figure.legend(loc="outside right upper", fontsize=7)
        figure.savefig(folder / f"{task}.svg", metadata={"Date": None})
        pyplot.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--figures", type=pathlib.Path, metavar="FOLDER")
    options = parser.parse_args()
    try:
        rows, again, tasks = read(options.files)
    except OSError as fault:
        refuse(f"{fault.filename}: {fault.strerror}")
    if not rows:
        refuse("there is no line of tested images in " + ", ".join(options.files))
    if options.figures:
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            refuse("--figures needs matplotlib (apt install python3-matplotlib)")
    quality = tables(rows, tasks)
    memory(rows, tasks)
    diversity(again, tasks)
    if options.figures:
        figures(rows, tasks, quality, options.figures)


if __name__ == "__main__":
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # of `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
