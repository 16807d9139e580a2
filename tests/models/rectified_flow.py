"""Small random transformers of Stable Diffusion 3: the model as diffusers saves it, and what it, its vjp and its jvp give.

Each case is a folder with config.json, the weights, and io.safetensors; of some, original.safetensors has the weights
under the original layout's names, of which diffusers' conversion of such files makes the model's own again.
"""

from types import SimpleNamespace

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

from derivatives import jvp, vjp
from oracle import folder, numbers, randomize, save
from original_names import sd3_transformer_names

out = folder()

medium = dict(
    sample_size=8, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=4, joint_attention_dim=24,
    caption_projection_dim=32, pooled_projection_dim=20, pos_embed_max_size=6)
normed = dict(medium, qk_norm="rms_norm")
# config, batch, height, width, tokens, whether in the original layout, too
transformers = {
    # of heads as wide as the published ones, as files of the original layout do not tell that
    "medium": (dict(medium, attention_head_dim=64, num_attention_heads=1, caption_projection_dim=64), 1, 8, 8, 5, True),
    "small_heads": (medium, 2, 8, 8, 5, False),
    "medium_3_5": (dict(normed, num_layers=3, dual_attention_layers=(0, 1)), 2, 8, 12, 7, True),
    "large_3_5": (normed, 1, 4, 8, 3, False),
    "whole_table": (medium, 1, 12, 12, 1, False),
    "odd_patches": (medium, 2, 2, 10, 5, False),  # the table's crop is not in its middle
    "dual_without_norm": (dict(medium, dual_attention_layers=(1,)), 1, 4, 4, 5, False),  # and the last layer's
    "one_layer": (dict(normed, num_layers=1), 1, 4, 4, 5, False),
    "patch_of_1": (dict(medium, patch_size=1, sample_size=4, out_channels=3), 1, 5, 3, 5, False),
    "one_head": (dict(normed, attention_head_dim=16, num_attention_heads=1, caption_projection_dim=16), 1, 4, 4, 5, False),
}
for name, (config, n, height, width, tokens, original) in transformers.items():
    model = randomize(SD3Transformer2DModel(**config), "sd3/")
    # random, too: a table that is made and not loaded would show
    model.pos_embed.pos_embed.copy_(numbers("sd3/positions", *model.pos_embed.pos_embed.shape))
    path = out / "sd3" / name
    model.save_pretrained(path)
    c = model.config
    key = f"sd3/{name}/"
    x, w = numbers(key + "x", n, c.in_channels, height, width), numbers(key + "w", n, c.out_channels, height, width)
    time = torch.tensor([500.25, 3.0][:n])
    states, pooled = numbers(key + "states", n, tokens, c.joint_attention_dim), numbers(key + "pooled", n, c.pooled_projection_dim)
    f = lambda x: model(x, states, pooled, time).sample
    y, g = vjp(f, x, w)
    v = numbers(key + "v", *x.shape)
    save(path / "io.safetensors", dict(x=x, time=time, states=states, pooled=pooled, y=y, w=w, vjp=g, v=v, jv=jvp(f, x, v)),
         rounding=3e-5)
    if original:
        save(path / "original.safetensors", sd3_transformer_names(model))

# Texts ---------------------------------------------------------------------------------------------------------------

class stand_in:
    """For a tokenizer or an encoder of a pipeline: gives `answer` to every call."""
    dtype, model_max_length = torch.float32, 77

    def __init__(self, answer):
        self.answer = answer

    def __call__(self, *_, **__):
        return self.answer


class encoded(SimpleNamespace):
    """What an encoder of transformers answers: its states, and the first of its tuple."""

    def __getitem__(self, i):
        return self.first


tokenizer = stand_in(SimpleNamespace(input_ids=torch.zeros(2, 5, dtype=torch.int64)))
clip = {}
for name, width in ("l", 12), ("g", 20):
    clip[name] = numbers(f"texts/{name}", 2, 5, width)
    clip[f"pooled_{name}"] = numbers(f"texts/pooled_{name}", 2, width // 2)
encoders = [stand_in(encoded(first=clip[f"pooled_{n}"], hidden_states=[None, clip[n], None])) for n in "lg"]
t5 = numbers("texts/t5", 2, 7, 40)
small = SD3Transformer2DModel(**dict(medium, joint_attention_dim=40))
for name, third in ("with_t5", stand_in(encoded(first=t5))), ("without_t5", None):
    pipeline = StableDiffusion3Pipeline(
        transformer=small, scheduler=FlowMatchEulerDiscreteScheduler(), vae=None, text_encoder=encoders[0], tokenizer=tokenizer,
        text_encoder_2=encoders[1], tokenizer_2=tokenizer, text_encoder_3=third, tokenizer_3=tokenizer)
    states, _, pooled, _ = pipeline.encode_prompt(["one", "another"], None, None, max_sequence_length=7,
                                                  do_classifier_free_guidance=False)
    (out / "texts").mkdir(exist_ok=True)
    save(out / "texts" / f"{name}.safetensors", clip | dict(t5=t5 if third else torch.zeros_like(t5), states=states, pooled=pooled))

# Times ---------------------------------------------------------------------------------------------------------------

grids = {}
for shift in 1.0, 3.0:
    for steps in 1, 2, 4, 28, 50:
        scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
        scheduler.set_timesteps(steps)
        grids[f"{shift:g}.{steps}"] = scheduler.sigmas
        grids[f"{shift:g}.{steps}.times"] = scheduler.timesteps
(out / "times").mkdir()
save(out / "times" / "sigmas.safetensors", grids)
