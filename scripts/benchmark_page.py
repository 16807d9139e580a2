"""Writes the page of benchmarks from JSON files of pushforward_benchmarks.

usage: benchmark_page.py FIGURES.json... PAGE.md
"""

import json
import os
import re
import statistics
import sys


def machine(context):
    with open("/proc/cpuinfo") as file:
        names = re.findall(r"^model name\s*: (.*)$", file.read(), re.M)
    with open("/proc/meminfo") as file:
        kib = int(re.search(r"^MemTotal:\s*(\d+)", file.read(), re.M).group(1))
    load = context["load_avg"][0] if context.get("load_avg") else float("nan")
    text = (f"Machine: {context['num_cpus']} cores of {names[0] if names else 'an unnamed processor'}, "
            f"{kib / 1048576:.0f} GiB of memory, no GPU.")
    if load > 0.5:
        text += (f" **It was not idle**: {load:.1f} programs wanted to run when the benchmarks began, so wall times are"
                 " too long. Ratios are of runs that took turns, and others disturb processor time little.")
    return text


def medians(figures):
    """name -> (repetitions, median of each figure)"""
    runs, errors = {}, {}
    for entry in figures["benchmarks"]:
        if entry.get("run_type") != "iteration":
            continue
        name = re.sub(r"/(iterations|repeats):\d+|/manual_time|/process_time|/real_time", "", entry["name"])
        if entry.get("error_occurred"):
            errors[name] = entry["error_message"]
        else:
            runs.setdefault(name, []).append(entry)
    found = {}
    for name, entries in runs.items():
        numbers = [key for key, value in entries[0].items() if isinstance(value, (int, float))]
        found[name] = {key: statistics.median(e[key] for e in entries) for key in numbers}
        found[name]["repetitions"] = len(entries)
        if "ratio" in found[name]:
            found[name]["ratios"] = [e["ratio"] for e in entries]
    return found, errors


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join("---" if i == 0 else "---:" for i in range(len(header))) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def overhead(found):
    rows = []
    for name, run in found.items():
        if match := re.fullmatch(r"overhead/(\w+)/pass_us:(\d+)", name):
            passes = "5 ms" if match[2] == "5000" else "next to 0" if match[2] == "0" else f"{match[2]} µs"
            rows.append([match[1], passes, f"{run['us_per_inner_iteration']:.1f}", f"{run['us_by_hand']:.1f}",
                         f"{run['ratio']:.4f} ({min(run['ratios']):.4f} to {max(run['ratios']):.4f})",
                         f"{run['heap_blocks_per_inner_iteration']:g}"])
    return table(["backend", "a pass takes", "library, µs per inner iteration", "by hand, µs",
                  "ratio (least to most)", "heap blocks per inner iteration"], rows)


def rules(found):
    rows = [[name.split("/")[2].replace("_", " "), f"{run['us_a_pass']:.1f}", f"{run['percent_of_5_ms']:.2f}"]
            for name, run in found.items() if name.startswith("rule/xtensor/")]
    return table(["rule", "µs a pass", "% of a pass of 5 ms"], rows)


def policies(found, kind, base):
    rows = []
    reference = found.get(f"{kind}_policy/{base}")
    for name, run in found.items():
        if not name.startswith(f"{kind}_policy/"):
            continue
        inner = run["inner_iterations"] * run["samples"]
        networks = [f"{run['forward']:g}", f"{run['backward']:g}", f"{run['forward_mode']:g}"]
        if kind == "latent":
            networks = networks[:2] + [f"{run['decoder_forward']:g}", f"{run['decoder_backward']:g}",
                                       f"{run['encoder_forward']:g}"]
        same = reference and all(run[k] == reference[k] for k in ("samples", "inner_iterations"))
        rows.append([name.split("/")[1].replace("_", " "), f"{run['samples']:g}", f"{run['inner_iterations']:g}",
                     *networks, f"{run['real_time'] / 1000:.2f}",
                     f"{run['real_time'] / inner:.1f}" if inner else "",
                     f"{run['real_time'] / reference['real_time']:.2f}" if same else "",
                     f"{run['peak_bytes'] / 1e6:.1f}",
                     f"{run['peak_bytes'] / reference['peak_bytes']:.2f}" if same else "",
                     f"{run['rms_error']:.3f}" if same or not inner else ""])
    networks = ["forward", "backward", "forward mode"]
    if kind == "latent":
        networks = networks[:2] + ["decoder", "decoder backward", "encoder"]
    return table(["policy", "samples", "inner iterations", *networks, "s", "ms per sample and inner iteration",
                  "time, ratio", "peak MB", "memory, ratio", "error"], rows)


def batches(found):
    rows = []
    for n in (1, 2, 4, 8, 16, 32, 64):
        row = [str(n)]
        for name, key, unit, form in ((f"batch/xtensor/samples:{n}", "us_per_sample_and_inner_iteration", 1, ".1f"),
                                      (f"batch/mnist/samples:{n}", "s_per_pass", 1000, ".2f")):
            one = found.get(name.split(":")[0] + ":1")
            run = found.get(name)
            row += [format(unit * run[key], form), f"{run[key] / one[key]:.2f}"] if run and one else ["", ""]
        rows.append(row)
    return table(["samples", "xtensor, µs per sample and inner iteration", "to one sample",
                  "MNIST, ms per sample and pass", "to one sample"], rows)


def page(figures):
    found, errors = medians(figures)
    parts = [
        "# Benchmarks",
        "Written by `scripts/benchmark.sh`; run it for the figures of your own machine. Medians of "
        f"up to {max(run['repetitions'] for run in found.values()):g} repetitions.",
        machine(figures["context"]),
        "## What the loop costs",
        "`sample` beside the same loop written by hand, with the same passes and the same numbers, taking turns: "
        "4 DDIM steps of 5 inner iterations of inexact Newton on one latent of 1 x 4 x 64 x 64 in float, half of it "
        "known. The network is a busy wait of 5 ms that goes through 4 MiB of memory, or nothing at all. The library's "
        "side looks for NaN in every estimate and error, as it does by default; the hand-written side does not. "
        "On xtensor, by hand is plain loops on buffers made once; on libtorch, libtorch's own operations. "
        "Processor time.",
        overhead(found),
    ]
    if any(name.startswith("rule/") for name in found):
        parts += [
            "## What an update rule costs beside its passes",
            "The algebra of the rule, the constraint and the sampler for each pass, on one latent of 1 x 4 x 64 x 64 in "
            "float on xtensor, half of it known; the network is nothing at all. Processor time.",
            rules(found),
        ]
    if any(name.startswith("pixel_policy/") for name in found):
        parts += [
            "## Update policies on the MNIST networks",
            "Digits of 32 x 32 whose left half is known; 20 DDIM steps of 5 inner iterations; libtorch. Passes are for "
            "one sample. The peak is the most that the whole run held on the heap beyond what was held before it "
            "(weights are not in it). The error is the root mean square over the known pixels, which lie in [-1, 1]. "
            "Ratios are to inexact Newton; exact Newton takes 1,026 passes in a step of one inner iteration, and is timed on less.",
            policies(found, "pixel", "inexact_newton"),
        ]
    if any(name.startswith("latent_policy/") for name in found):
        parts += [
            "## Pixel constraints on latents",
            "The same digits, as latents of 4 x 8 x 8. Inexact Newton through the decoder's backward pass, VAE-Newton "
            "through the encoder's forward difference, and gradient descent through both networks. Ratios are to "
            "VAE-Newton.",
            policies(found, "latent", "vae_newton"),
        ]
    parts += [
        "## Batches",
        "xtensor: the loop's own algebra on latents of 4 x 64 x 64, processor time. MNIST: a whole run of inexact "
        "Newton, wall time.",
        batches(found),
    ]
    missing = [what for what, prefix in (("the update policies on the MNIST networks", "pixel_policy/"),
                                         ("pixel constraints on latents", "latent_policy/"),
                                         ("batches of the MNIST network", "batch/mnist"))
               if not any(name.startswith(prefix) for name in [*found, *errors])]
    if missing:
        parts += ["## Not run for this page", "\n".join(f"- {what}" for what in missing)]
    if errors:
        parts += ["## Not measured", "\n".join(f"- {name}: {why}" for name, why in sorted(errors.items()))]
    return "\n\n".join(parts) + "\n"


def main(page, usage):
    """Reads the files of figures on the command line, puts them together, and writes the page of them whole."""
    if len(sys.argv) < 3:
        sys.exit(usage)
    *files, target = sys.argv[1:]
    figures = {"benchmarks": []}
    for name in files:
        with open(name) as file:
            part = json.load(file)
        figures.setdefault("context", part["context"])
        figures["benchmarks"] += part["benchmarks"]
    text = page(figures)
    with open(target + ".part", "w") as file:
        file.write(text)
    os.replace(target + ".part", target)


if __name__ == "__main__":
    main(page, __doc__)
