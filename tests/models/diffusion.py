"""Small random UNets and autoencoders: the model as diffusers saves it, and what it and its vjp give.

Each case is a folder with config.json, the weights, and io.safetensors; and the weights once more in ldm.safetensors,
under the original layout's names, which are found by what diffusers' conversion of such files makes of them.
"""

import json

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

from derivatives import jvp, vjp
from oracle import folder, numbers, randomize, save
from original_names import autoencoder_names, by_marks

out = folder()

# UNet ----------------------------------------------------------------------------------------------------------------

small = dict(
    sample_size=8, block_out_channels=(32, 64), norm_num_groups=8, cross_attention_dim=24, layers_per_block=2,
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    attention_head_dim=8)
three = dict(
    small, block_out_channels=(32, 64, 64), down_block_types=("CrossAttnDownBlock2D",) * 2 + ("DownBlock2D",),
    up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 2)
# config, batch, height, width, tokens
unets = {
    "sd1": (small, 1, 8, 8, 7),
    "sd2": (dict(three, use_linear_projection=True, attention_head_dim=(2, 4, 8), cross_attention_dim=40,
                 upcast_attention=True), 2, 8, 16, 7),
    "odd_size": (three, 1, 9, 13, 5),
    "odd_coarse": (three, 1, 6, 10, 5),
    "one_pixel": (small, 1, 1, 3, 5),
    "one_layer": (dict(small, layers_per_block=1), 2, 8, 8, 1),
    "layers_each": (dict(three, layers_per_block=(1, 2, 1)), 1, 8, 8, 3),
    "deep_transformers": (dict(three, transformer_layers_per_block=(1, 2, 3)), 1, 8, 8, 5),
    "two_transformers": (dict(small, transformer_layers_per_block=2, use_linear_projection=True), 1, 8, 8, 5),
    "attention_everywhere": (dict(small, down_block_types=("CrossAttnDownBlock2D",) * 2,
                                  up_block_types=("CrossAttnUpBlock2D",) * 2), 1, 8, 8, 5),
    "attention_in_the_middle": (dict(small, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2),
                                1, 8, 8, 5),
    "norms": (dict(small, norm_num_groups=16, norm_eps=1e-3), 1, 8, 8, 5),
    "sines_first": (dict(small, flip_sin_to_cos=False, freq_shift=1), 2, 8, 8, 5),
    "channels": (dict(small, in_channels=9, out_channels=3), 1, 8, 8, 5),
    "one_level": (dict(small, block_out_channels=(32,), down_block_types=("CrossAttnDownBlock2D",),
                       up_block_types=("CrossAttnUpBlock2D",)), 1, 5, 5, 5),
}
for name, (config, n, height, width, tokens) in unets.items():
    model = randomize(UNet2DConditionModel(**config), "unet/")
    path = out / "unet" / name
    model.save_pretrained(path)
    c = model.config
    key = f"unet/{name}/"
    x, w = numbers(key + "x", n, c.in_channels, height, width), numbers(key + "w", n, c.out_channels, height, width)
    time = torch.tensor([500.25, 3.0][:n])
    context = numbers(key + "context", n, tokens, c.cross_attention_dim)
    f = lambda x: model(x, time, context).sample
    y, g = vjp(f, x, w)
    v = numbers(key + "v", *x.shape)
    jv = jvp(f, x, v)
    y_double = model.double()(x.double(), time, context.double()).sample.float()
    model.float()
    save(path / "io.safetensors", dict(x=x, time=time, context=context, y=y, y_double=y_double, w=w, vjp=g, v=v, jv=jv),
         rounding=3e-5)

    layers = c.layers_per_block
    if isinstance(layers, int):  # the conversion knows no other
        blocks = len(c.block_out_channels)
        resnet = ["in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3", "skip_connection"]
        block = [f"attn{i}.{p}" for i in (1, 2) for p in ("to_q", "to_k", "to_v", "to_out.0")] + [
            "ff.net.0.proj", "ff.net.2", "norm1", "norm2", "norm3"]
        attention = ["norm", "proj_in", "proj_out"] + [
            f"transformer_blocks.{i}.{p}" for i in range(3) for p in block]
        attends = lambda kind: "CrossAttn" in kind
        modules = ["time_embed.0", "time_embed.2", "input_blocks.0.0", "out.0", "out.2"]
        modules += [f"middle_block.{i}.{p}" for i in (0, 2) for p in resnet]
        modules += [f"middle_block.1.{p}" for p in attention]
        number = 1
        for i, kind in enumerate(c.down_block_types):
            for _ in range(layers):
                modules += [f"input_blocks.{number}.0.{p}" for p in resnet]
                modules += [f"input_blocks.{number}.1.{p}" for p in attention if attends(kind)]
                number += 1
            if i < blocks - 1:
                modules.append(f"input_blocks.{number}.0.op")
                number += 1
        number = 0
        for i, kind in enumerate(c.up_block_types):
            for j in range(layers + 1):
                modules += [f"output_blocks.{number}.0.{p}" for p in resnet]
                modules += [f"output_blocks.{number}.1.{p}" for p in attention if attends(kind)]
                if j == layers and i < blocks - 1:
                    modules.append(f"output_blocks.{number}.{2 if attends(kind) else 1}.conv")
                number += 1
        names = [f"model.diffusion_model.{m}.{p}" for m in modules for p in ("weight", "bias")]
        ldm = by_marks(model, convert_ldm_unet_checkpoint, names)
        save(path / "ldm.safetensors", ldm)

# AutoencoderKL -------------------------------------------------------------------------------------------------------

vae = dict(
    down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    block_out_channels=(16, 32), layers_per_block=2, norm_num_groups=8, sample_size=16)
# config, batch, height, width
autoencoders = {
    "sd": (vae, 1, 16, 16),
    "no_quant_conv": (dict(vae, use_quant_conv=False, use_post_quant_conv=False), 2, 8, 16),
    "one_quant_conv": (dict(vae, use_quant_conv=False), 1, 8, 8),
    "sixteen_channels": (dict(vae, latent_channels=16, shift_factor=0.0609, scaling_factor=1.5305), 1, 8, 8),
    "old_names": (vae, 1, 16, 8),
    "no_attention": (dict(vae, mid_block_add_attention=False), 1, 8, 8),
    "three_levels": (dict(vae, block_out_channels=(16, 16, 32), down_block_types=("DownEncoderBlock2D",) * 3,
                          up_block_types=("UpDecoderBlock2D",) * 3, layers_per_block=1, force_upcast=False), 1, 9, 14),
    "grey": (dict(vae, in_channels=1, out_channels=2), 1, 8, 8),
}
for name, (config, n, height, width) in autoencoders.items():
    model = randomize(AutoencoderKL(**config), "autoencoder_kl/")
    path = out / "autoencoder_kl" / name
    model.save_pretrained(path)
    c = model.config
    shift = c.shift_factor or 0.0
    key = f"autoencoder_kl/{name}/"
    image = numbers(key + "image", n, c.in_channels, height, width)
    encode = lambda x: (model.encode(x).latent_dist.mean - shift) * c.scaling_factor
    decode = lambda z: model.decode(z / c.scaling_factor + shift).sample
    moments = model.encode(40.0 * image).latent_dist  # far enough for the clamp to matter
    scale = 2 ** (len(c.block_out_channels) - 1)
    z = numbers(key + "z", n, c.latent_channels, height // scale, width // scale)
    v, w = numbers(key + "v", *z.shape), numbers(key + "w", n, c.out_channels, scale * z.shape[2], scale * z.shape[3])
    latent, encode_vjp = vjp(encode, image, z)
    pixels, decode_vjp = vjp(decode, z, w)
    tensors = dict(image=image, latent=latent, encode_vjp=encode_vjp, mean=moments.mean, log_variance=moments.logvar,
                   z=z, pixels=pixels, w=w, decode_vjp=decode_vjp, v=v, decode_jv=jvp(decode, z, v))
    save(path / "io.safetensors", tensors)

    if name == "old_names":
        new = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
        state = model.state_dict()
        for mine, old in new.items():
            state = {k.replace(f"attentions.0.{mine}.", f"attentions.0.{old}."): v for k, v in state.items()}
        assert sum("proj_attn" in k for k in state) == 4
        save(path / "diffusion_pytorch_model.safetensors", state)
    if c.mid_block_add_attention:
        ldm = autoencoder_names(model)
        save(path / "ldm.safetensors", ldm)
