#!/usr/bin/env python3
"""Turns the rows of pushforward_mnist_evaluate into tables, and a folder of runs into one self-contained page.

    report.py table ROWS.jsonl...            the tables in Markdown, on standard output
    report.py page FOLDER OUT.html           the page of the demo
"""

import base64
import html
import json
import math
import pathlib
import sys

COLOURS = {"posterior_step": "#6a3d9a", "inexact_newton": "#1b6ca8", "forward_mode_newton": "#4fa3d1", "gradient_descent": "#d1495b",
           "exact_newton": "#e0a030", "vae_newton": "#2e8b57", "none": "#777777"}
TASKS = {"superres_x4": "super-resolution x4", "superres_x2": "super-resolution x2", "inpaint_upper": "upper half known",
         "inpaint_lower": "lower half known", "inpaint_left": "left half known", "inpaint_right": "right half known",
         "inpaint_box": "all but a box known", "inpaint_random": "a quarter of the pixels known"}
FIELDS = "settings", "label", "read", "rmse", "psnr", "first", "costs", "curve"  # of a row of restored digits
MODELS = {"ddpm": "pixels, DDPM", "flow": "pixels, rectified flow", "latent_ddpm": "latents, DDPM"}


def words(name):
    return name.replace("_", " ")


def read_rows(paths):
    """Rows of whole settings: the batches of one setting, role and range of digits are put together."""
    sums = {}
    real = []
    for path in paths:
        for number, line in enumerate(pathlib.Path(path).read_text().splitlines(), 1):
            try:
                row = json.loads(line)
                role = row["role"]
                for name in ("label", "read") if role == "real" else FIELDS:
                    row[name]
            except (ValueError, LookupError, TypeError):
                sys.exit(f"{path}, line {number}: is no row of pushforward_mnist_evaluate")
            if role == "real":
                real.append(row)
                continue
            key = (row["role"], json.dumps(row["settings"], sort_keys=True))
            found = sums.setdefault(key, {"role": row["role"], "settings": row["settings"], "label": [], "read": [],
                                          "rmse": [], "psnr": [], "first": row["first"], "costs": {}, "curves": [],
                                          "batch": 0, "peak": 0})
            for name in ("label", "read", "rmse", "psnr"):
                found[name] += row[name]
            found["first"] = min(found["first"], row["first"])
            for name, value in row["costs"].items():
                found["costs"][name] = found["costs"].get(name, 0) + value
            found["peak"] = max(found["peak"], row["costs"]["peak_bytes"])
            found["batch"] = max(found["batch"], len(row["label"]))
            found["curves"].append((len(row["label"]), row["curve"]))
    rows = []
    for found in sums.values():
        n = len(found["label"])
        found["n"] = n
        found["kept"] = sum(a == b for a, b in zip(found["label"], found["read"])) / n
        found["error"] = math.sqrt(sum(e * e for e in found["rmse"]) / n)
        found["decibel"] = sum(found["psnr"]) / n
        length = min(len(curve) for _, curve in found["curves"])
        found["curve"] = [sum(m * curve[i] for m, curve in found["curves"]) / n for i in range(length)]
        rows.append(found)
    return rows, real


def setting(s):
    if s["policy"] in ("none", "posterior_step"):
        return "-", "-"
    return str(s["K"]), f"{s['lr']:g} → {s['lr_last']:g}" if s["lr"] != s["lr_last"] else f"{s['lr']:g}"


def noise(s):
    return "one step's beta" if s.get("one_step_beta") else f"{s['eta']:g}" if "eta" in s else "-"


def row_cells(r):
    s, n = r["settings"], r["n"]
    k, rate = setting(s)
    return [TASKS.get(s["task"], words(s["task"])), MODELS[s["model"]], words(s["policy"]), str(s["steps"]), noise(s), k, rate,
            str(n), f"{r['costs']['passes'] / n:g}", f"{r['costs']['backward_passes'] / n:g}",
            f"{r['costs']['seconds'] / n:.2f}", f"{r['costs']['processor_seconds'] / n:.2f}", f"{r['peak'] / 2**20:.0f} ({r['batch']})",
            f"{r['error']:.3f}", f"{r['decibel']:.1f}", f"{100 * r['kept']:.1f} %"]


HEADS = ["task", "model", "policy", "steps", "eta", "K", "rate", "digits", "passes", "backward passes", "seconds", "processor seconds",
         "peak memory, MB (digits at once)", "constraint RMSE", "PSNR, dB", "label kept"]


def table(rows):
    lines = ["| " + " | ".join(HEADS) + " |", "|" + "|".join("---" if i < 3 else "---:" for i in range(len(HEADS))) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row_cells(r)) + " |" for r in rows])


def ordered(rows):
    tasks, policies = list(TASKS), list(COLOURS)
    def place(names, name):
        return names.index(name) if name in names else len(names)
    return sorted(rows, key=lambda r: (list(MODELS).index(r["settings"]["model"]), place(tasks, r["settings"]["task"]),
                                       place(policies, r["settings"]["policy"]), r["settings"].get("K", 0),
                                       r["settings"].get("lr", 0)))


def print_tables(paths):
    rows, real = read_rows(paths)
    for row in real:
        right = sum(a == b for a, b in zip(row["label"], row["read"]))
        print(f"On the {len(row['label'])} real digits the judge is right on {100 * right / len(row['label']):.1f} %.\n")
    for role, title in (("report", "### The chosen settings"), ("grid", "### The grid")):
        chosen = ordered([r for r in rows if r["role"] == role])
        if chosen:
            print(f"{title}\n\n{table(chosen)}\n")
    for verdict in comparisons([r for r in rows if r["role"] == "report"]):
        print("- " + verdict)


def comparisons(rows):
    """Gradient descent against inexact Newton (or VAE-Newton, on latents), in words."""
    by = {(r["settings"]["model"], r["settings"]["task"], r["settings"]["policy"]): r for r in rows}
    for (model, task, policy), newton in by.items():
        descent = by.get((model, task, "gradient_descent"))
        if policy not in ("inexact_newton", "vae_newton") or descent is None:
            continue
        d, n = ({"kept": round(100 * r["kept"], 1), "error": round(r["error"], 3), "decibel": round(r["decibel"], 1)}
                for r in (descent, newton))  # what the table shows: no difference is claimed that it does not
        better = [text for is_better, text in (
            (d["kept"] > n["kept"], f"it keeps more labels ({d['kept']:.1f} % against {n['kept']:.1f} %)"),
            (d["error"] < n["error"], f"its constraint RMSE is lower ({d['error']:.3f} against {n['error']:.3f})"),
            (d["decibel"] > n["decibel"], f"its PSNR is higher ({d['decibel']:.1f} against {n['decibel']:.1f} dB)")) if is_better]
        place = f"{TASKS.get(task, words(task))} ({MODELS[model]}): "
        yield place + (f"gradient descent does better than {words(policy)} in that " + "; ".join(better) + "." if better
                       else f"gradient descent does no better than {words(policy)} in labels, constraint RMSE or PSNR.")


# ---- the page ----

def data_url(path, kind):
    return f"data:image/{kind};base64," + base64.b64encode(path.read_bytes()).decode()


def curve_plot(title, lines):
    """Constraint RMSE over inner iterations, logarithmic, one line for each policy."""
    width, height, left, right, top, bottom = 660, 300, 60, 170, 34, 40
    longest = max(len(values) for _, values in lines)
    everything = [v for _, values in lines for v in values if v > 0]
    low, high = math.floor(math.log10(min(everything))), math.ceil(math.log10(max(everything)))
    high = max(high, low + 1)
    def x(share):
        return left + share * (width - left - right)
    def y(v):
        return top + (high - math.log10(max(v, 10.0**low))) / (high - low) * (height - top - bottom)
    out = [f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="{html.escape(title)}">',
           f'<text x="{left}" y="18" class="t">{html.escape(title)}</text>']
    for power in range(low, high + 1):
        out.append(f'<line x1="{left}" x2="{width - right}" y1="{y(10.0**power):.1f}" y2="{y(10.0**power):.1f}" stroke="#ddd"/>'
                   f'<text x="{left - 8}" y="{y(10.0**power) + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    out.append(f'<text x="{(left + width - right) / 2}" y="{height - 8}" text-anchor="middle">progress of the run: from noise (left) to the clean digit (right)</text>')
    for place, (policy, values) in enumerate(lines):
        colour = COLOURS[policy]
        points = " ".join(f"{x(i / max(len(values) - 1, 1)):.1f},{y(v):.1f}" for i, v in enumerate(values))
        out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{points}"/>')
        out.append(f'<line x1="{width - right + 10}" x2="{width - right + 30}" y1="{top + 18 * place + 4}" y2="{top + 18 * place + 4}" stroke="{colour}" stroke-width="2"/>'
                   f'<text x="{width - right + 36}" y="{top + 18 * place + 8}">{html.escape(words(policy))}</text>')
    return "".join(out) + "</svg>"


STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2em auto; padding: 0 1em; color: #222; }
h1 { font-size: 1.7em; } h2 { margin-top: 2em; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; font-size: 13px; } th, td { padding: 4px 5px; border-bottom: 1px solid #e5e5e5; text-align: right; }
th:nth-child(-n+3), td:nth-child(-n+3) { text-align: left; } td:nth-child(n+4) { white-space: nowrap; } th { vertical-align: bottom; background: #f6f6f6; }
.scroll { overflow-x: auto; } svg text { font: 12px sans-serif; fill: #333; } svg .t { font-size: 14px; font-weight: 600; }
.runs { display: flex; flex-wrap: wrap; gap: 18px; } figure { margin: 0; } figcaption { font-size: 13px; max-width: 300px; }
.runs img { width: 280px; image-rendering: pixelated; } .wide img { max-width: 100%; } .note { color: #555; font-size: 14px; }
.heads { display: grid; grid-template-columns: repeat(4, 1fr); width: 280px; font-size: 11px; text-align: center; color: #555; }
"""


def restored(folder, name):
    path = folder / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def figure(folder, name):
    run = restored(folder, name)
    s, costs, digits = run["settings"], run["costs_of_the_batch"], run["digits"]
    n = len(digits)
    kept = sum(d["judge_reads"] == d["label"] for d in digits)
    rmse = math.sqrt(sum(d["constraint_rmse"] ** 2 for d in digits) / n)
    k, rate = setting(s)
    detail = f"{s['steps']} steps. " if k == "-" else f"{s['steps']} steps, K = {k}, rate {rate}. "
    return (f'<figure><div class="heads"><span>start</span><span>known</span><span>result</span><span>truth</span></div>'
            f'<img alt="{html.escape(name)}: start, known, result and truth of {n} digits" src="{data_url(folder / (name + ".png"), "png")}">'
            f'<figcaption><b style="color:{COLOURS[s["policy"]]}">{html.escape(words(s["policy"]))}</b> ({MODELS[s["model"]]}). {detail}'
            f'{costs["passes"] / n:g} passes and {costs["backward_passes"] / n:g} backward passes a digit. '
            f'Constraint RMSE {rmse:.3f}; the judge reads {kept} of {n} right.</figcaption></figure>')


def kept(folder):
    """What the cut-offs of J^-1 e keep, in words."""
    run = restored(folder, "directions")
    if run is None:
        return ""
    words_of = {1: ", so that it is of rank one: the same picture for an error at any pixel, but for its size and sign"}
    return "".join(f" J<sup>-1</sup> e with a cut-off of {d['cutoff']:g} keeps {d['singular_values_kept']} of the "
                   f"{len(run['singular_values'])} singular values{words_of.get(d['singular_values_kept'], '')}."
                   for d in run["directions"] if "cutoff" in d)


def page(folder, out):
    folder = pathlib.Path(folder)
    rows, real = read_rows([folder / "rows.jsonl"])
    rows = ordered(rows)
    parts = [f"<!doctype html><html lang=en><head><meta charset=utf-8><title>pushforward on handwritten digits</title>"
             f"<meta name=viewport content='width=device-width'><link rel=icon href='data:,'><style>{STYLE}</style></head><body>",
             "<h1>Steering a diffusion model onto a constraint, on handwritten digits</h1>",
             "<p>A network that was trained only to remove noise from MNIST's digits is asked to restore digits it has never seen: "
             "from half of their pixels, or from 8 x 8 blocks. It was not trained for either. While noise becomes a digit, "
             "each clean estimate is moved towards what is known, and the <b>update policies</b> below differ in how. The "
             "<b>posterior step</b> moves the estimate itself, by a conjugate-gradient step on what the network's own "
             "Jacobian says of its error, at two passes a time step. The others carry the move back to the noisy picture: "
             "<b>inexact Newton</b> pushes the error forward through the network "
             "(<i>J e</i>, one more forward pass), <b>forward-mode Newton</b> does so by automatic differentiation, <b>gradient descent</b> pulls it back (<i>J<sup>T</sup> e</i>, a backward pass), "
             "<b>exact Newton</b> solves with the whole Jacobian, <b>VAE-Newton</b> works on a VAE's latents without any backward "
             "pass, and <b>none</b> ignores what is known.</p>"]
    names = sorted(p.stem for p in folder.glob("*__*.json"))
    for task in TASKS:
        mine = [n for n in names if n.startswith(task + "__")]
        if not mine:
            continue
        order = list(MODELS), list(COLOURS)
        mine.sort(key=lambda n: (order[0].index(restored(folder, n)["settings"]["model"]),
                                 order[1].index(restored(folder, n)["settings"]["policy"])))
        parts.append(f"<h2>{html.escape(TASKS[task][0].upper() + TASKS[task][1:])}</h2><div class=runs>"
                     + "".join(figure(folder, n) for n in mine) + "</div>")
        for model in MODELS:
            lines = [(r["settings"]["policy"], r["curve"]) for r in rows
                     if r["settings"]["task"] == task and r["settings"]["model"] == model and r["curve"]]
            if lines:
                parts.append("<p>" + curve_plot(f"Constraint RMSE, {MODELS[model]}", lines) + "</p>")
    parts.append("<h2>What each policy costs and reaches</h2>")
    if real:
        right = sum(a == b for a, b in zip(real[0]["label"], real[0]["read"]))
        fewer = " Exact Newton, at 1024 passes an inner iteration, had fewer steps and digits." if any(
            r["settings"]["policy"] == "exact_newton" for r in rows) else ""
        parts.append(f"<p class=note>Each row: the first held-out digits, as many as it says. Passes, backward passes, seconds "
                     f"and processor seconds (of all cores) are a digit's. The constraint RMSE is on the scale from -1 (black) to 1 (white), over the known values. "
                     f"The judge is a separate classifier; on the real digits it is right on {right} of {len(real[0]['label'])}. "
                     f"With so few digits a difference of a few percent means nothing.{fewer}</p>")
    heads = "".join(f"<th>{html.escape(h)}</th>" for h in HEADS)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row_cells(r)) + "</tr>" for r in rows)
    parts.append(f"<div class=scroll><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>")
    verdicts = "".join(f"<li>{html.escape(v[0].upper() + v[1:])}</li>" for v in comparisons(rows))
    if verdicts:
        parts.append(f"<p>Gradient descent against the policies without backward passes, on these digits:</p><ul>{verdicts}</ul>")
    for name, title, text in (
            ("directions", "Three directions for one error",
             "At one noisy digit, an error at one pixel becomes a direction in the noisy picture in three ways. A good direction "
             "changes that pixel of the estimate and leaves a digit behind." + kept(folder)),
            ("spectrum", "The spectrum of the Jacobian",
             "For an exact denoiser J is symmetric, and J e and J<sup>T</sup> e are the same. The skew part shows how far a trained "
             "network is from that.")):
        svg = folder / f"{name}.svg"
        if svg.is_file():
            parts.append(f'<h2>{title}</h2><p>{text}</p><p class=wide><img alt="{title}" src="{data_url(svg, "svg+xml")}"></p>')
    parts.append("</body></html>")
    out = pathlib.Path(out)
    part = out.with_name(out.name + ".part")
    part.write_text("\n".join(parts), encoding="utf-8")
    part.replace(out)


def main(arguments):
    if len(arguments) >= 2 and arguments[0] == "table":
        print_tables(arguments[1:])
    elif len(arguments) == 3 and arguments[0] == "page":
        page(*arguments[1:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as fault:
        sys.exit(f"report.py: {fault.filename}: {fault.strerror}" if fault.filename else f"report.py: {fault.strerror}")
