"""real_tiny.py OUT WEIGHTS...: what diffusers' AutoencoderTiny gives with the real files of TAESD and its family, for the
test of real files in autoencoder_tiny.cpp, which reads OUT where PUSHFORWARD_TINY_AUTOENCODERS names it. WEIGHTS are
folders with encoder.safetensors and decoder.safetensors of the original repository (taesd, taesdxl, taesd3, taef1)."""

import shutil
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from oracle import folder, images, numbers, save
from safetensors.torch import load_file

out = folder()
for weights in map(Path, sys.argv[2:]):
    e, d = (load_file(weights / f"{part}.safetensors") for part in ("encoder", "decoder"))
    model = AutoencoderTiny(latent_channels=d["1.weight"].shape[1])
    names = {f"encoder.layers.{name}": value for name, value in e.items()}
    for name, value in d.items():  # module 0 there is the clamp
        number, rest = name.split(".", 1)
        names[f"decoder.layers.{int(number) - 1}.{rest}"] = value
    model.load_state_dict(names)
    image, z = images("image", 1, 3, 64, 96), numbers("z", 1, model.config.latent_channels, 8, 12)
    w_e, w_d = numbers("w_encoder", *z.shape), numbers("w_decoder", *image.shape)
    products = []
    for f, x, w in ((lambda x: model.encode(x).latents, image, w_e), (lambda x: model.decode(x).sample, z, w_d)):
        x = x.clone().requires_grad_(True)
        y = f(x)
        products.append((y.detach(), torch.autograd.grad(y, x, w)[0]))
    (encoded, vjp_e), (decoded, vjp_d) = products
    there = out / weights.name
    there.mkdir()
    for part in ("encoder", "decoder"):
        shutil.copy(weights / f"{part}.safetensors", there)
    model.save_pretrained(there / "diffusers")
    save(there / "io.safetensors", dict(image=image, encoded=encoded, w_encoder=w_e, encoder_vjp=vjp_e,
                                        z=z, decoded=decoded, w_decoder=w_d, decoder_vjp=vjp_d))
