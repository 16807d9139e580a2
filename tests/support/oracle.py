"""What the oracle scripts share: `from oracle import folder, save` (PYTHONPATH has this folder)."""

import pathlib
import shutil
import sys

try:
    import diffusers
    import torch
    import transformers
    from safetensors.torch import save_file
except ImportError as missing:
    print(f"skipped, no oracle: {missing}; scripts/setup.sh --ci installs diffusers, transformers and torch")
    sys.exit(77)

diffusers.utils.logging.set_verbosity_error()
transformers.utils.logging.set_verbosity_error()
torch.manual_seed(0)
torch.set_grad_enabled(True)


def folder():
    """The folder named on the command line, empty."""
    path = pathlib.Path(sys.argv[1])
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def randomize(model, scale=1.0):
    """Every parameter random, none left at its initial 0 or 1, so that one that is ignored or swapped shows."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1:
                fan_in = parameter[0].numel()
                parameter.copy_(noise * scale / fan_in**0.5)
            elif name.endswith("weight"):
                parameter.copy_(1.0 + 0.1 * noise)
            else:
                parameter.copy_(0.1 * noise)
    return model.eval().requires_grad_(False)


def save(path, tensors, **facts):
    """Tensors (and facts as text) for the C++ test, as one safetensors file."""
    save_file({k: v.detach().contiguous().clone() for k, v in tensors.items()}, path,
              {k: str(v) for k, v in facts.items()})
