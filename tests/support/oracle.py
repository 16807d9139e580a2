"""What the oracle scripts share: `from oracle import folder, numbers, save` (PYTHONPATH has this folder).

Weights and inputs are made by `numbers`, of which expand_recording.cpp has the other half: so a recording of what a
script wrote (recording.py) need not hold them.
"""

import hashlib
import math
import pathlib
import shutil
import sys

try:
    import diffusers
    import numpy
    import torch
    import transformers
    from safetensors.torch import save_file
except ImportError as missing:
    sys.exit(f"{missing}; scripts/setup.sh --ci installs diffusers, transformers and torch")

diffusers.utils.logging.set_verbosity_error()
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.manual_seed(0)
torch.set_grad_enabled(True)

recipes = None  # of the numbers that were made, by their content: recording.py makes it a dictionary
roundings = {}  # of the files that were saved


def folder():
    """The folder named on the command line, empty."""
    path = pathlib.Path(sys.argv[1])
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def content(tensor):
    """What tensors of the same type with the same numbers in the same order share, whatever their shape."""
    return tensor.dtype, hashlib.sha256(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy()).digest()


def words(key, count):
    """64-bit words of Philox4x64-10. Its key is the text's FNV-1a hash, its counter goes from 1."""
    hashed = 0xCBF29CE484222325
    for byte in key.encode():
        hashed = (hashed ^ byte) * 0x100000001B3 % 2**64
    return numpy.random.Philox(key=hashed).random_raw(count)


def whole_numbers(key, *shape, end):
    """From 0 to below `end`."""
    return torch.from_numpy((words(key, math.prod(shape)) % end).astype(numpy.int64)).view(shape)


SUM_DEVIATION = 2**16 / 3**0.5  # of the sum of four numbers from 0 to 2^16 - 1


def numbers(key, *shape, deviation=1.0, mean=0.0):
    """float32, near to normal, of roughly that deviation and at most 3.5 times it from the mean. A number is

        (offset + multiple (a + b + c + d - 131070)) 2^exponent

    with whole numbers, where a to d are the quarters of a word: exact wherever it is computed."""
    fraction, exponent = math.frexp(deviation / SUM_DEVIATION)
    multiple, exponent = round(8 * fraction), exponent - 3
    offset = round(mean / 2.0**exponent)
    assert abs(offset) + 131070 * multiple < 2**24, "float32 cannot hold these numbers"
    quarters = words(key, math.prod(shape)).astype("<u8", copy=False).view("<u2").reshape(-1, 4)
    values = (offset + multiple * (quarters.sum(1, dtype=numpy.int64) - 131070)) * 2.0**exponent
    tensor = torch.from_numpy(values.astype(numpy.float32)).view(shape)
    if recipes is not None:
        recipes.setdefault(content(tensor), []).append((key, multiple, exponent, offset))
    return tensor


def images(key, *shape):
    """Numbers between -1 and 1."""
    return numbers(key, *shape, deviation=SUM_DEVIATION / 2**17)


def randomize(model, key="", scale=1.0):
    """Every parameter random, none left at its initial 0 or 1, so that one that is ignored or swapped shows. The keys
    of the numbers are `key` and the parameters' names."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            mean, deviation = 0.0, 0.1
            if parameter.dim() > 1:
                deviation = scale / parameter[0].numel() ** 0.5
            elif name.endswith("weight"):
                mean = 1.0
            parameter.copy_(numbers(key + name, *parameter.shape, deviation=deviation, mean=mean))
    return model.eval().requires_grad_(False)


def save(path, tensors, rounding=1e-5):
    """Tensors for the C++ test, as one safetensors file. `rounding`: what may lie between this run and one on another
    machine, relative, in the L2 norm."""
    roundings[pathlib.Path(path)] = rounding
    save_file({k: v.detach().contiguous().clone() for k, v in tensors.items()}, path)
