"""A small random checkpoint of Stable Diffusion 3, and where diffusers' pipeline and the published loop end on it."""

import json
import pathlib
import sys

import torch
from diffusers import (AutoencoderKL, AutoencoderTiny, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel,
                       StableDiffusion3Pipeline)
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer, CLIPVisionConfig, CLIPVisionModel, T5Config, T5EncoderModel, T5Tokenizer

from oracle import folder, images, numbers, randomize, save
from original_names import autoencoder_names, sd3_transformer_names

sys.path.append(str(pathlib.Path(__file__).parent.parent / "models"))
from t5 import map_of_rules, write_tokenizer_json  # noqa: E402

out = folder()
model = out / "checkpoint"

transformer = randomize(SD3Transformer2DModel(
    sample_size=16, in_channels=16, out_channels=16, num_layers=3, attention_head_dim=8, num_attention_heads=2, joint_attention_dim=136,
    caption_projection_dim=16, pooled_projection_dim=128, pos_embed_max_size=8, qk_norm="rms_norm", dual_attention_layers=(0,)), "sd3/")
transformer.pos_embed.pos_embed.copy_(numbers("sd3/positions", *transformer.pos_embed.pos_embed.shape))
vae = randomize(AutoencoderKL(
    block_out_channels=(32,) * 4, layers_per_block=1, norm_num_groups=32, latent_channels=16, use_quant_conv=False,
    use_post_quant_conv=False, scaling_factor=1.5305, shift_factor=0.0609,
    down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4), "vae/")
# as published: ends are told by 2, and the two differ in what they pad with
clip = dict(vocab_size=514, hidden_size=64, intermediate_size=32, num_attention_heads=1, projection_dim=64, bos_token_id=512, eos_token_id=2)
text = randomize(CLIPTextModelWithProjection(CLIPTextConfig(num_hidden_layers=2, **clip)), "text_encoder/")
text_2 = randomize(CLIPTextModelWithProjection(CLIPTextConfig(num_hidden_layers=3, hidden_act="gelu", **clip)), "text_encoder_2/")
text_3 = randomize(T5EncoderModel(T5Config(
    vocab_size=210, d_model=136, d_kv=4, num_heads=2, d_ff=12, num_layers=2, feed_forward_proj="gated-gelu")), "text_encoder_3/")
scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)

for part, name in ((transformer, "transformer"), (vae, "vae"), (text, "text_encoder"), (text_2, "text_encoder_2"),
                   (text_3, "text_encoder_3"), (scheduler, "scheduler")):
    part.save_pretrained(model / name)
plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
byte_words = [chr(b) for b in plain] + [chr(256 + i) for i in range(256 - len(plain))]
vocabulary = {w: i for i, w in enumerate(byte_words + [c + "</w>" for c in byte_words] + ["<|startoftext|>", "<|endoftext|>"])}
for name, pad in ("tokenizer", "<|endoftext|>"), ("tokenizer_2", "!"):
    (model / name).mkdir()
    (model / name / "vocab.json").write_text(json.dumps(vocabulary))
    (model / name / "merges.txt").write_text("#version: 0.2\n")
    (model / name / "tokenizer_config.json").write_text(json.dumps({
        "model_max_length": 77, "pad_token": pad, "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>", "tokenizer_class": "CLIPTokenizer"}))
write_tokenizer_json(model / "tokenizer_3", map_of_rules({"A": "a"}))
(model / "model_index.json").write_text(json.dumps({
    "_class_name": "StableDiffusion3Pipeline", "text_encoder_3": ["transformers", "T5EncoderModel"]}))

randomize(CLIPVisionModel(CLIPVisionConfig(
    hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4, image_size=32, patch_size=8)),
    "clip/").save_pretrained(out / "clip")
randomize(AutoencoderTiny(latent_channels=16, encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4),
          "tiny/").save_pretrained(out / "tiny")

# the same in one file of the original layout: CLIP's second activation, which it cannot tell, stays with the folder
single = sd3_transformer_names(transformer) | autoencoder_names(vae)
for encoder, name in (text, "clip_l"), (text_2, "clip_g"), (text_3, "t5xxl"):
    single |= {f"text_encoders.{name}.transformer.{k}": v for k, v in encoder.state_dict().items() if k != "encoder.embed_tokens.weight"}
save(out / "single.safetensors", single)

pixels = images("picture", 3, 64, 96)
picture = ((pixels + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
Image.fromarray(picture).save(out / "picture.png")
image = torch.from_numpy(picture).float().permute(2, 0, 1)[None] / 127.5 - 1

tokenizers = [CLIPTokenizer.from_pretrained(model / "tokenizer"), CLIPTokenizer.from_pretrained(model / "tokenizer_2"),
              T5Tokenizer.from_pretrained(model / "tokenizer_3")]
assert [t.pad_token_id for t in tokenizers] == [513, 0, 0]


def pipeline(third):
    return StableDiffusion3Pipeline(
        transformer=transformer, scheduler=scheduler, vae=vae, text_encoder=text, tokenizer=tokenizers[0], text_encoder_2=text_2,
        tokenizer_2=tokenizers[1], text_encoder_3=third, tokenizer_3=tokenizers[2])


noise = numbers("start", 2, 16, 8, 12)


def sampled(steps, third=text_3, **options):
    pipe = pipeline(third)
    pipe.set_progress_bar_config(disable=True)
    return pipe("a cat", num_inference_steps=steps, latents=noise, height=64, width=96, num_images_per_prompt=2,
                output_type="latent", **options).images


# ---- the published loop on the grid of the pipeline ----

def clean(x, sigma, branches, guidance):
    """x0 of o = noise - x0 at x = (1 - sigma) x0 + sigma noise, which is fed 1000 sigma."""
    o = [transformer(x, states.expand(len(x), -1, -1), pooled.expand(len(x), -1), torch.tensor([1000.0 * sigma] * len(x))).sample
         for states, pooled in branches]
    return x - sigma * (o[0] if len(o) == 1 else o[1] + guidance * (o[0] - o[1]))


def per_sample(v):
    return v.abs().amax((1, 2, 3), keepdim=True)


def loop(x, steps, error, K, lr, branches, guidance=1.0):
    scheduler.set_timesteps(steps)
    sigmas = scheduler.sigmas.tolist()
    for sigma, after in zip(sigmas, sigmas[1:]):
        x0 = clean(x, sigma, branches, guidance)
        for k in range(K):
            e = error(x0)
            h = 0.005 / per_sample(e)
            d = (clean(x + h * e, sigma, branches, guidance) - x0) / h
            x = x + (lr[0] + (lr[1] - lr[0]) * k / (K - 1)) * d / per_sample(d)
            x0 = clean(x, sigma, branches, guidance)
        x = x + (after - sigma) * (x - x0) / sigma
    return x


with torch.no_grad():
    prompts = {}
    for name in "a cat", "a dog":
        states, _, pooled, _ = pipeline(text_3).encode_prompt(name, None, None, do_classifier_free_guidance=False)
        prompts[name] = states, pooled
    known = torch.zeros(1, 1, 8, 12)
    known[..., :6] = 1.0
    left = image.clone()
    left[..., 48:] = 0.0
    target = (vae.encode(left).latent_dist.mean - 0.0609) * 1.5305
    error = lambda x0: known * (target - x0)  # noqa: E731
    save(out / "latents.safetensors", {
        "start": noise,
        "sampled": sampled(4, guidance_scale=1.0),
        "guided": sampled(4, guidance_scale=4.5),
        "negative": sampled(3, negative_prompt="a dog", guidance_scale=2.0),
        "without_t5": sampled(4, third=None, guidance_scale=1.0),
        "short": sampled(4, guidance_scale=1.0, max_sequence_length=40),
        "plain": loop(noise, 4, error, 3, (0.5, 0.1), [prompts["a cat"]]),
        "steered": loop(noise, 4, error, 3, (0.5, 0.1), [prompts["a cat"], prompts["a dog"]], 2.0)},
        rounding=3e-4)
    states, _, pooled, _ = pipeline(text_3).encode_prompt("a cat", None, None, do_classifier_free_guidance=False, max_sequence_length=40)
    save(out / "prompt.safetensors", {"states": states, "pooled": pooled}, rounding=3e-5)
