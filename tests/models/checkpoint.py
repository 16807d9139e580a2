"""Checkpoint folders as diffusers writes them (whole, sharded, of a variant), and the noise of its schedulers."""

import json
import shutil

from oracle import folder, randomize, save

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, PNDMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

out = folder()

unet = randomize(UNet2DConditionModel(
    block_out_channels=(8, 16), layers_per_block=1, cross_attention_dim=24, attention_head_dim=4, norm_num_groups=4,
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")), "unet/")
vae = randomize(AutoencoderKL(block_out_channels=(8,), norm_num_groups=4), "vae/")
tiny = randomize(AutoencoderTiny(encoder_block_out_channels=(4,) * 4, decoder_block_out_channels=(4,) * 4), "tiny/")
text = randomize(CLIPTextModel(CLIPTextConfig(
    vocab_size=50, hidden_size=24, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)), "text_encoder/")
SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def write(name, vae, scheduler, variant=None, **shards):
    path = out / name
    unet.save_pretrained(path / "unet", variant=variant, **shards)
    vae.save_pretrained(path / "vae", variant=variant)
    text.save_pretrained(path / "text_encoder", **({"variant": variant} if variant else {}), **shards)
    scheduler.save_pretrained(path / "scheduler")
    (path / "tokenizer").mkdir()
    (path / "tokenizer/vocab.json").write_text('{"a": 0}')
    (path / "tokenizer/merges.txt").write_text("#version: 0.2\n")
    (path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))


write("whole", vae, PNDMScheduler(steps_offset=1, set_alpha_to_one=False, skip_prk_steps=True, **SD))
write("sharded", tiny, DDIMScheduler(prediction_type="v_prediction", **SD), max_shard_size="20KB")
write("fp16", vae, DDIMScheduler(**SD), variant="fp16")
assert list((out / "sharded/unet").glob("*.index.json")) and list((out / "fp16/unet").glob("*.fp16.safetensors"))
shutil.copytree(out / "whole", out / "both")
for part, stem in (("unet", "diffusion_pytorch_model"), ("vae", "diffusion_pytorch_model"), ("text_encoder", "model")):
    shutil.copy(out / f"fp16/{part}/{stem}.fp16.safetensors", out / f"both/{part}")

# alphas_cumprod, and the times that 20 steps visit
for scheduler in (DDIMScheduler, PNDMScheduler):
    for kind, options in (("linear", {"beta_start": 1e-4, "beta_end": 0.02}), ("scaled_linear", SD),
                          ("squaredcos_cap_v2", {})):
        for T in (1000, 300):
            s = scheduler(num_train_timesteps=T, **{**options, "beta_schedule": kind})
            name = f"{scheduler.__name__}-{kind}-{T}"
            s.save_pretrained(out / "schedules" / name)
            save(out / "schedules" / f"{name}.safetensors", {"alphas_cumprod": s.alphas_cumprod, "betas": s.betas})
