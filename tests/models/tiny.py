"""Tiny autoencoders: diffusers' AutoencoderTiny in several configurations, and the files of the original repository
(https://github.com/madebyollin/taesd), whose architecture is stated here a second time in nn.Sequential."""

from oracle import folder, images, numbers, randomize, save

import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file
from torch import nn

out = folder()


def products(f, x, key):
    """f(x), and J^T w at x for a random w."""
    x = x.clone().requires_grad_(True)
    y = f(x)
    w = numbers(key, *y.shape)
    return y, w, torch.autograd.grad(y, x, w)[0]


def inputs(name, channels, latent_channels):
    """An image, and latents that do not belong to it."""
    return images(name + "/image", 2, channels, 16, 24), numbers(name + "/z", 2, latent_channels, 2, 3, deviation=2.0)


def write(name, encode, decode, image, z, **more):
    encoded, w_e, vjp_e = products(encode, image, name + "/w_encoder")
    decoded, w_d, vjp_d = products(decode, z, name + "/w_decoder")
    save(out / f"{name}.safetensors",
         {"image": image, "encoded": encoded, "w_encoder": w_e, "encoder_vjp": vjp_e,
          "z": z, "decoded": decoded, "w_decoder": w_d, "decoder_vjp": vjp_d, **more})


# --- diffusers -------------------------------------------------------------------------------------------------------

CONFIGURATIONS = {
    "taesd": {},
    "taesd3": {"latent_channels": 16, "scaling_factor": 1.5, "shift_factor": 0.06},
    "uneven": {"num_encoder_blocks": (2, 0, 1), "num_decoder_blocks": (1, 2, 0), "in_channels": 1, "out_channels": 2,
               "upsampling_scaling_factor": 3, "latent_magnitude": 2, "latent_shift": 0.25},
}

for name, options in CONFIGURATIONS.items():
    n = len(options.get("num_encoder_blocks", (1, 3, 3, 3)))
    model = randomize(AutoencoderTiny(encoder_block_out_channels=(8,) * n, decoder_block_out_channels=(12,) * n,
                                      **options), name + "/")
    model.save_pretrained(out / name)
    c = model.config
    image, z = inputs(name, c.in_channels, c.latent_channels)
    write(name,
          lambda x: (model.encode(x).latents - c.shift_factor) * c.scaling_factor,
          lambda x: model.decode(x / c.scaling_factor + c.shift_factor).sample,
          image, z, scaled=model.scale_latents(z), unscaled=model.unscale_latents(z))

# --- the original repository -----------------------------------------------------------------------------------------


class Clamp(nn.Module):
    def forward(self, x):
        return torch.tanh(x / 3) * 3


class Block(nn.Module):
    def __init__(self, n, groups):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(n, n, 3, padding=1), nn.ReLU(), nn.Conv2d(n, n, 3, padding=1), nn.ReLU(),
                                  nn.Conv2d(n, n, 3, padding=1))
        if groups:
            self.pool = nn.Sequential(nn.Conv2d(n, 4 * n, 1, bias=False), nn.GroupNorm(groups, 4 * n), nn.ReLU(),
                                      nn.Conv2d(4 * n, n, 1, bias=False))

    def forward(self, x):
        if hasattr(self, "pool"):
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)


def conv(n_in, n_out, **options):
    return nn.Conv2d(n_in, n_out, 3, padding=1, **options)


def blocks(k, n, groups=0):
    return [Block(n, groups) for _ in range(k)]


def encoder(n, latents, groups):
    down = [conv(n, n, stride=2, bias=False) for _ in range(3)]
    return nn.Sequential(conv(3, n), *blocks(1, n), down[0], *blocks(3, n), down[1], *blocks(3, n), down[2],
                         *blocks(3, n, groups), conv(n, latents))


def decoder(n, latents, groups):
    up = [[nn.Upsample(scale_factor=2), conv(n, n, bias=False)] for _ in range(3)]
    return nn.Sequential(Clamp(), conv(latents, n), nn.ReLU(), *blocks(3, n, groups), *up[0], *blocks(3, n), *up[1],
                         *blocks(3, n), *up[2], *blocks(1, n), conv(n, 3))


for name, latents, groups in (("original_taesd", 4, 0), ("original_taef2", 32, 4)):
    e = randomize(encoder(8, latents, groups), name + "/encoder/")
    d = randomize(decoder(8, latents, groups), name + "/decoder/")
    (out / name).mkdir()
    save_file(e.state_dict(), out / name / "encoder.safetensors")
    save_file(d.state_dict(), out / name / "decoder.safetensors")
    write(name, lambda x: e((x + 1) / 2), lambda z: d(z) * 2 - 1, *inputs(name, 3, latents))
