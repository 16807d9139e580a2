"""full_size.py FOLDER [MODEL...]: random models of the full size of Stable Diffusion 1.5, 2.1 and 3.5 medium (sd15_unet,
sd21_unet, vae, sd35_medium; without a name all), and what they give, for the program models_diffusion_full and the
benchmarks. Needs 18 GB of disk for all, and memory for one of them at a time, at most 12 GB."""

import sys
import time

import torch
from diffusers import AutoencoderKL, SD3Transformer2DModel, UNet2DConditionModel

from oracle import folder, numbers, randomize, save

out = folder()
four = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",), ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
unet = dict(down_block_types=four[0], up_block_types=four[1], sample_size=64)
models = {
    "sd15_unet": (UNet2DConditionModel, dict(unet, cross_attention_dim=768, attention_head_dim=8)),
    "sd21_unet": (UNet2DConditionModel, dict(unet, cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20),
                                             use_linear_projection=True, upcast_attention=True)),
    "vae": (AutoencoderKL, dict(
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, sample_size=512,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4)),
    "sd35_medium": (SD3Transformer2DModel, dict(
        num_layers=24, num_attention_heads=24, caption_projection_dim=1536, pos_embed_max_size=384, qk_norm="rms_norm",
        dual_attention_layers=tuple(range(13)))),
}
for name in sys.argv[2:] or models:
    kind, config = models[name]
    model = randomize(kind(**config))
    path = out / name
    model.save_pretrained(path, max_shard_size="100GB")
    with torch.no_grad():
        if kind is UNet2DConditionModel:
            x = numbers("x", 1, 4, 64, 64)
            context = numbers("context", 1, 77, model.config.cross_attention_dim)
            t = torch.tensor([481.0])
            start = time.perf_counter()
            y = model(x, t, context).sample
            seconds = time.perf_counter() - start
            save(path / "io.safetensors", dict(x=x, time=t, context=context, y=y))
        elif kind is SD3Transformer2DModel:
            x = numbers("x", 1, 16, 64, 64)
            states, pooled = numbers("states", 1, 77 + 256, 4096), numbers("pooled", 1, 2048)
            t = torch.tensor([481.25])
            start = time.perf_counter()
            y = model(x, states, pooled, t).sample
            seconds = time.perf_counter() - start
            # CLIP's states are padded with zeros, and T5's are zero where it is left out
            without_t5 = states.clone()
            without_t5[:, :77, 2048:] = 0
            without_t5[:, 77:] = 0
            save(path / "io.safetensors", dict(x=x, time=t, states=states, pooled=pooled, y=y, states_without_t5=without_t5,
                                               y_without_t5=model(x, without_t5, pooled, t).sample))
        else:
            image = numbers("image", 1, 3, 512, 512)
            z = numbers("z", 1, 4, 64, 64)
            start = time.perf_counter()
            latent = model.encode(image).latent_dist.mean * model.config.scaling_factor
            pixels = model.decode(z / model.config.scaling_factor).sample
            seconds = time.perf_counter() - start
            save(path / "io.safetensors", dict(image=image, latent=latent, z=z, pixels=pixels))
    print(f"{name}: {sum(p.numel() for p in model.parameters())} parameters, "
          f"{seconds:.1f} s in diffusers with {torch.get_num_threads()} threads", flush=True)
    del model
