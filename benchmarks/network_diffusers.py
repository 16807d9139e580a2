"""Runs a network of diffusers, the UNet or Stable Diffusion 3's transformer, on request; the other side of pushforward_stable_diffusion_benchmarks.

usage: network_diffusers.py MODEL_FOLDER float32|bfloat16

MODEL_FOLDER is one of those that tests/models/full_size.py writes. Says "ready THREADS TORCH DIFFUSERS", and then answers
each line of standard input with a line:

    pass LAYOUT TEXT      WALL_SECONDS PROCESSOR_SECONDS DIFFERENCE     of one forward pass of io.safetensors' input
    profile LAYOUT TEXT   OPERATOR SECONDS OPERATOR SECONDS ...         of one pass, operators that the model calls
    flops TEXT            CONVOLUTION LINEAR ATTENTION                  of one pass, twice its multiplications

LAYOUT is `default`, or `channels_last`; TEXT `all`, or `without_t5`, of Stable Diffusion 3's transformer. DIFFERENCE is
relative, in the L2 norm, to the output that io.safetensors has.
"""

import json
import sys
import time

import diffusers
import safetensors.torch
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def made(config):
    """The network of a config.json, without weights."""
    with torch.device("meta"):
        return getattr(diffusers, config["_class_name"]).from_config(config)


def loaded(folder, kind):
    """As from_pretrained, which would hold the weights more than once while it loads."""
    model = made(json.load(open(folder + "/config.json")))
    with safetensors.safe_open(folder + "/diffusion_pytorch_model.safetensors", "pt") as file:
        weights = {name: file.get_tensor(name).to(kind, copy=True) for name in file.keys()}
    model.load_state_dict(weights, assign=True)
    return model.eval().requires_grad_(False)


def of(text, name):
    """The name of a tensor of io.safetensors."""
    return name if text == "all" else f"{name}_{text}"


def run(model, io, text):
    if "context" in io:
        return model(io["x"], io["time"], io["context"]).sample
    return model(io["x"], io[of(text, "states")], io["pooled"], io["time"]).sample


def flops(model, io, text):
    """Counted on tensors without values; attention as the matrix products that it is."""
    net, shapes = made(model.config), {name: tensor.to("meta", torch.float32) for name, tensor in io.items()}
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        run(net, shapes, text)
    total = {"convolution": 0, "linear": 0, "attention": 0}
    kinds = {"convolution": "convolution", "mm": "linear", "addmm": "linear", "bmm": "attention"}
    for operator, count in counter.get_flop_counts()["Global"].items():
        total[kinds[str(operator).removeprefix("aten.")]] += count
    return list(total.values())


def outermost(profile):
    """operator -> seconds, of the operators that were not called by another"""
    seconds = {}
    for event in profile.events():
        if event.cpu_parent is None and event.name.startswith(("aten::", "mkldnn::")):
            seconds[event.name] = seconds.get(event.name, 0.0) + 1e-6 * event.cpu_time_total
    return seconds


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, kind = sys.argv[1], getattr(torch, sys.argv[2])
    diffusers.utils.logging.set_verbosity_error()
    model = loaded(folder, kind)
    io = safetensors.torch.load_file(folder + "/io.safetensors")
    wanted = {name: io.pop(name) for name in list(io) if name.startswith("y")}
    io = {name: tensor if name == "time" else tensor.to(kind) for name, tensor in io.items()}
    layouts = {"default": torch.contiguous_format, "channels_last": torch.channels_last}
    print("ready", torch.get_num_threads(), torch.__version__, diffusers.__version__, flush=True)
    for line in sys.stdin:
        what, *layout, text = line.split()
        if layout:
            model.to(memory_format=layouts[layout[0]])
        with torch.inference_mode():
            if what == "pass":
                wall, processor = time.perf_counter(), time.process_time()
                y = run(model, io, text)
                wall, processor = time.perf_counter() - wall, time.process_time() - processor
                y_there = wanted[of(text, "y")]
                answer = [wall, processor, ((y - y_there).norm() / y_there.norm()).item()]
            elif what == "profile":
                with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
                    run(model, io, text)
                answer = [word for pair in outermost(profile).items() for word in pair]
            elif what == "flops":
                answer = flops(model, io, text)
            else:
                sys.exit(f"network_diffusers.py: {what} is no request")
        print(*answer, flush=True)


main()
