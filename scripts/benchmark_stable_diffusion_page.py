"""Writes the page of a network of full size from JSON files of pushforward_stable_diffusion_benchmarks.

usage: benchmark_stable_diffusion_page.py FIGURES.json... PAGE.md
"""

import re

from benchmark_page import machine, main, medians, table

kinds = ["convolution", "linear", "attention", "normalisation", "activation", "sums", "copies", "conversion", "other"]


def spread(run):
    return f"{run['ratio']:.3f} ({min(run['ratios']):.3f} to {max(run['ratios']):.3f})"


def parts_of(name):
    """Type, layout and text of "pass/TYPE/LAYOUT[/TEXT]"."""
    kind, layout, *text = name.split("/")[1:]
    return kind, layout.replace("_", " "), text[0].replace("_t5", " T5") if text else "with T5"


def passes(found):
    rows, texts = [], len({parts_of(name)[2] for name in found if name.startswith("pass/")}) > 1
    for name, run in found.items():
        if name.startswith("pass/"):
            kind, layout, text = parts_of(name)
            rows.append([kind, layout, *([text] if texts else []), f"{run['ours_processor']:.2f}", f"{run['theirs_processor']:.2f}",
                         spread(run), f"{run['ratio_wall']:.3f}",
                         *(f"{run[key]:.3f}" if key in run else "" for key in ("to_their_float32", "to_float32")),
                         f"{run['difference']:.1e}", f"{run['their_difference']:.1e}", f"{run['repetitions']}"])
    return table(["type", "layout of theirs", *(["text"] if texts else []), "ours, s", "theirs, s", "ratio (least to most)", "ratio of wall times",
                  "to theirs in float32", "to ours in float32", "difference of ours", "of theirs", "turns"], rows)


def half_instructions(unet):
    with open("/proc/cpuinfo") as file:
        there = sorted(set(re.findall(r"\b(?:avx512_bf16|amx_bf16|avx512bw)\b", file.read())))
    if there:
        return f"This processor's instructions for bfloat16 products and AVX-512: {', '.join(there)}."
    return ("This processor has no instructions for products of bfloat16 (avx512_bf16, amx_bf16), nor AVX-512 to stand in. "
            "libtorch takes them in plain loops then, which is what diffusers' time shows; ours are taken in float32, with "
            "the weights widened in passing, so that bfloat16 saves half the weights' memory but no time." +
            (" With its own default layout, diffusers' convolutions in bfloat16 are slower still, and are not measured here."
             if unet else ""))


def peaks(figures):
    """type -> how -> size -> the fastest"""
    found = {}
    for entry in figures["benchmarks"]:
        if entry["name"].startswith("peak/") and entry.get("run_type") == "iteration" and "flops_per_s" in entry:
            kind, how, size = entry["name"].split("/")[1:4]
            sizes = found.setdefault(kind, {}).setdefault(how, {})
            sizes[size] = max(sizes.get(size, 0.0), entry["flops_per_s"])
    return found


def profile(run, peak):
    ours = {k: run.get(f"ours:{k}", 0.0) for k in kinds}
    theirs = {k: run.get(f"theirs:{k}", 0.0) for k in kinds}
    rows = []
    for kind in kinds:
        if ours[kind] + theirs[kind] == 0.0:
            continue
        flops = run.get(f"flops:{kind}", 0.0)
        speed = flops / ours[kind] if flops else 0.0
        rows.append([kind, f"{ours[kind]:.2f}", f"{100 * ours[kind] / sum(ours.values()):.1f} %",
                     f"{100 * theirs[kind] / sum(theirs.values()):.1f} %", f"{flops / 1e9:.0f}" if flops else "",
                     f"{speed / 1e9:.0f}" if flops else "", f"{100 * speed / peak:.0f} %" if flops and peak else ""])
    return table(["what", "ours, s", "of ours", "of theirs", "GFLOP", "GFLOP/s", "of the peak"], rows)


def shares(found, by_kind):
    parts = []
    if by_kind:
        parts.append("Matrix products in the same run, the fastest of each size, in GFLOP in a second of a core's time: by "
                     "`at::matmul`, and by oneDNN with one side in its own layout, as the layers have them taken. The largest "
                     "of a type is the peak of which shares are given.")
        sizes_of = lambda ways: next(iter(ways.values()))
        parts.append(table(["type", "by", *sizes_of(sizes_of(by_kind))],
                           [[kind, how, *(f"{speed / 1e9:.0f}" for speed in sizes.values())]
                            for kind, ways in by_kind.items() for how, sizes in ways.items()]))
    for name, run in found.items():
        if not name.startswith("profile/"):
            continue
        kind, layout, text_of = parts_of(name)
        peak = max((speed for sizes in by_kind.get(kind, {}).values() for speed in sizes.values()), default=None)
        flops = sum(run.get(f"flops:{k}", 0.0) for k in kinds)
        counted = sum(run.get(f"counted:{k}", 0.0) for k in kinds)
        several = len({parts_of(n)[2] for n in found if n.startswith("profile/")}) > 1
        text = (f"**{kind}{', ' + text_of if several else ''}**: {flops / 1e9:.1f} GFLOP in convolutions, linear layers and attention, "
                f"twice their multiplications; `torch.utils.flop_counter` counts {counted / 1e9:.1f} in diffusers.")
        timed = found.get(name.replace("profile", "pass"))
        if peak and timed:
            text += (f" A pass of {timed['ours_processor']:.2f} s reaches "
                     f"{100 * flops / timed['ours_processor'] / peak:.0f} % of the peak, diffusers' "
                     f"{100 * flops / timed['theirs_processor'] / peak:.0f} %.")
        parts += [text + f" Theirs in the {layout} layout.", profile(run, peak)]
    return parts


def inner(found):
    rows = [[name.split("/")[1], f"{run['pass']:.2f}", f"{run['iteration']:.2f}", f"{run['passes']:.3f}",
             f"{run['passes_inside']:.4f}", f"{run['ms_besides']:.1f}", f"{run['repetitions']}"]
            for name, run in found.items() if name.startswith("inner_iteration/")]
    return table(["type", "a pass, s", "an inner iteration, s", "in passes by themselves", "in its own passes",
                  "besides the passes, ms", "runs"], rows)


def memory(found):
    rows = []
    for name, run in found.items():
        if not name.startswith("memory/"):
            continue
        policy, kind = name.split("/")[1:]
        base = found.get(f"memory/none/{kind}")
        ratio = lambda key: f"{run[key] / base[key]:.3f}" if base else ""
        rows.append([kind, "plain sampling" if policy == "none" else policy.replace("_", " "), f"{run['forward']:g}",
                     f"{run['backward']:g}", f"{run['peak_bytes'] / 1e6:.0f}", ratio("peak_bytes"),
                     f"{run['total_bytes'] / 1e6:.0f}", ratio("total_bytes"), f"{run['processor']:.1f}"])
    return table(["type", "policy", "forward", "backward", "above the loaded weights, MB", "ratio", "whole process, MB",
                  "ratio", "processor s"], rows)


def page(figures):
    found, errors = medians(figures)
    has = lambda prefix: any(name.startswith(prefix) for name in found)
    threads = next((run["threads"] for name, run in found.items() if name.startswith("pass/")), None)
    versions = next((entry["label"] for entry in figures["benchmarks"] if entry.get("label")), None)
    unet = figures["context"].get("network", "UNet2DConditionModel") == "UNet2DConditionModel"
    title, option, half, memory_needed, disk, of, inputs, ours, theirs = (
        ("Stable Diffusion's UNet", "", "half an hour", 12, 4, "Stable Diffusion 1.5 (860 million parameters)",
         "1 x 4 x 64 x 64 and a context of 77 tokens", "models::unet", "UNet2DConditionModel") if unet else
        ("Stable Diffusion 3's transformer", " --sd3", "an hour", 21, 10, "Stable Diffusion 3.5 medium (2.5 billion parameters)",
         "1 x 16 x 64 x 64 (pictures of 512 x 512) and 333 tokens of text", "models::sd3_transformer", "SD3Transformer2DModel"))
    parts = [
        f"# Benchmarks of {title}",
        f"Written by `scripts/benchmark_stable_diffusion.sh{option}`; run it for the figures of your own machine. It takes {half}, "
        f"{memory_needed} GB of memory, and {disk} GB of disk for a random model of the size of {of}, which "
        f"`tests/models/full_size.py` makes. Needs what `scripts/setup.sh --ci` installs. Latents of {inputs} throughout. Medians; "
        "seconds are processor time where they are not called wall time.",
        machine(figures["context"]) + (f" {threads:g} thread{'s' if threads != 1 else ''} on either side; {versions}."
                                       if threads else ""),
    ]
    if has("pass/"):
        parts += ["## A forward pass beside diffusers",
                  f"`{ours}` and `{theirs}` from Python, in eval and inference mode, with the same weights and input, taking "
                  "turns. " + ("Layout: diffusers' own default, and with its weights in channels-last memory. " if unet else "") +
                  "Difference: relative L2 distance to what diffusers gave in float32 when the model was made.",
                  passes(found)]
    if not unet:
        parts.append("Without T5 its 256 tokens are zeros. They carry no position, so that they stay equal to each other through "
                     "all blocks: ours takes them as one, whose key and value attention sees 256 times. Passes without a text "
                     "named, here and below, are without T5.")
    if has("pass/bfloat16"):
        parts.append(half_instructions(unet))
    if has("peak/") or has("profile/"):
        parts += ["## What share of the machine it reaches", *shares(found, peaks(figures))]
    if has("profile/"):
        parts += ["Times are of the operators that the networks call, with all that those call in turn; theirs by "
                  "torch.profiler in wall time, as shares. A projection kept as a 1 x 1 convolution is a linear layer here, "
                  "and a convolution there. Normalisation is group and layer norm, activation silu and gelu, sums all "
                  "element-wise arithmetic, copies also concatenation and upsampling, conversion that between types."]
    if has("inner_iteration/"):
        parts += ["## An inner iteration of inexact Newton",
                  "One time step of `sample` with two inner iterations on a half-masked latent. Passes by themselves are "
                  "timed before and after each run.", inner(found)]
    if has("memory/"):
        parts += ["## Peak memory",
                  "One time step of `sample` with two inner iterations, or five of plain sampling, which are as many passes as inexact "
                  "Newton takes, each in a process of "
                  "its own, after a pass to warm up. Freed blocks go back to the system at once. Resident memory: how far it rose above where it stood with the weights "
                  "loaded, and the whole process with weights and libraries. Ratios are to plain sampling.", memory(found)]
    if errors:
        parts += ["## Not measured", "\n".join(f"- {name}: {why}" for name, why in sorted(errors.items()))]
    return "\n\n".join(parts) + "\n"


main(page, __doc__)
