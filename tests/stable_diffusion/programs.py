"""A small random Stable Diffusion checkpoint, pictures, and what the loop and the studies give on them."""

import json

import numpy as np
from oracle import folder, numbers, randomize, save
from PIL import Image

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, CLIPVisionConfig, CLIPVisionModel

out = folder()
model = out / "checkpoint"

unet = randomize(UNet2DConditionModel(
    block_out_channels=(16, 32), layers_per_block=1, cross_attention_dim=32, attention_head_dim=4, norm_num_groups=8,
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")), "unet/")
vae = randomize(AutoencoderKL(
    block_out_channels=(8, 8, 16, 16), layers_per_block=1, norm_num_groups=4,
    down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4), "vae/")
text = randomize(CLIPTextModel(CLIPTextConfig(
    vocab_size=514, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
    bos_token_id=512, eos_token_id=513, pad_token_id=513)), "text_encoder/")
unet.save_pretrained(model / "unet")
vae.save_pretrained(model / "vae")
text.save_pretrained(model / "text_encoder")
scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
scheduler.save_pretrained(model / "scheduler")
# a vocabulary of single bytes (as GPT-2's byte-level encoding writes them), with and without the mark of a word's end
plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
byte_words = [chr(b) for b in plain] + [chr(256 + i) for i in range(256 - len(plain))]
words = byte_words + [c + "</w>" for c in byte_words] + ["<|startoftext|>", "<|endoftext|>"]
(model / "tokenizer").mkdir(exist_ok=True)
(model / "tokenizer/vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
(model / "tokenizer/merges.txt").write_text("#version: 0.2\n")
tokenizer = CLIPTokenizer.from_pretrained(model / "tokenizer", model_max_length=77)
(model / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
for name, channels in ("tiny", 4), ("wide", 8):
    randomize(AutoencoderTiny(latent_channels=channels, encoder_block_out_channels=(8,) * 4,
                              decoder_block_out_channels=(8,) * 4), name + "/").save_pretrained(out / name)

y, x = np.mgrid[0:64, 0:96] / 64.0
picture = np.stack([0.5 + 0.4 * np.sin(5 * x + 3 * y), 0.5 + 0.4 * np.cos(4 * y), x / 1.6], -1)
picture = (255 * (picture + numbers("picture", *picture.shape, deviation=0.02).numpy()).clip(0, 1)).astype(np.uint8)
Image.fromarray(picture).save(out / "picture.png")
Image.fromarray(picture).save(out / "picture.jpg", quality=95)
mask = np.full((64, 96), 255, np.uint8)
mask[20:50, 30:70] = 0
Image.fromarray(mask).save(out / "mask.png")
Image.fromarray(255 - mask).save(out / "white_is_filled.png")
Image.fromarray(mask[:, :90]).save(out / "narrow_mask.png")
Image.fromarray(picture[:16, :24]).save(out / "small.png")


# ---- the published loop, written from its description ----
# Differences of nearby points magnify rounding: hence what `save` allows between two machines.

STEPS = 4
betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float32) ** 2
abar = torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod((1 - betas).double(), 0)])  # abar[t], t = 0..1000


def contexts(prompt):
    ids = tokenizer(prompt, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    return text(ids).last_hidden_state


def clean(x, t, branches, guidance, offset=-1):
    o = [unet(x, torch.tensor([float(t + offset)]), c.expand(len(x), -1, -1)).sample for c in branches]
    o = o[0] if len(o) == 1 else o[1] + guidance * (o[0] - o[1])
    return (x - (1 - abar[t]).sqrt().float() * o) / abar[t].sqrt().float()


def per_sample(v):
    return v.abs().amax((1, 2, 3), keepdim=True)


def loop(x, error, K, lr, branches, guidance=1.0, reference=False):
    """Deterministic DDIM; lr goes linearly from the first to the last. With the reference's probe and time, or ours."""
    offset = 0 if reference else -1
    for i in range(STEPS):
        t, next_t = (round(1000 * (STEPS - j) / STEPS) for j in (i, i + 1))
        x0 = clean(x, t, branches, guidance, offset)
        probe = 0.005 if reference else max(0.005, 2**-11.5) * max(1.0, float(((1 - abar[t]) / abar[t]).sqrt()))
        for k in range(K):
            e = error(x0)
            h = probe / per_sample(e)
            d = (clean(x + h * e, t, branches, guidance, offset) - x0) / h
            rate = lr[0] + (lr[1] - lr[0]) * k / (K - 1)
            x = x + rate * d / per_sample(d)
            x0 = clean(x, t, branches, guidance, offset)
        eps = (x - abar[t].sqrt().float() * x0) / (1 - abar[t]).sqrt().float()
        x = abar[next_t].sqrt().float() * x0 + (1 - abar[next_t]).sqrt().float() * eps
    return x


def encode(images):
    return vae.encode(images).latent_dist.mean * vae.config.scaling_factor


def decode(z):
    return vae.decode(z / vae.config.scaling_factor).sample


def resize(images, height, width):
    """MATLAB's imresize: antialiased cubic (a = -1/2), the edge mirrored."""
    def matrix(n, size):
        ratio = n / size
        widen = max(ratio, 1.0)
        m = torch.zeros(size, n, dtype=torch.float64)
        for i in range(size):
            centre = (i + 0.5) * ratio - 0.5
            for j in range(int(np.floor(centre - 2 * widen)), int(np.ceil(centre + 2 * widen)) + 1):
                d = abs(j - centre) / widen
                value = ((1.5 * d - 2.5) * d * d + 1 if d < 1 else ((-0.5 * d + 2.5) * d - 4) * d + 2 if d < 2 else 0.0)
                k = j % (2 * n)
                m[i, k if k < n else 2 * n - 1 - k] += value
        return (m / m.sum(1, keepdim=True)).float()
    return matrix(images.shape[2], height) @ images @ matrix(images.shape[3], width).T


image = torch.from_numpy(picture).float().permute(2, 0, 1)[None] / 127.5 - 1
known = torch.from_numpy(mask).float()[None, None] / 255
noise = numbers("start", 2, 4, 8, 12)
with torch.no_grad():
    target = encode(image * known)
    m = -torch.nn.functional.max_pool2d(-known, 8)
    save(out / "inpaint.safetensors", {
        "start": noise,
        "plain": loop(noise, lambda x0: m * (target - x0), 3, (0.5, 0.1), [contexts("a cat")]),
        "reference": loop(noise, lambda x0: m * (target - x0), 3, (0.5, 0.1), [contexts("a cat")], reference=True),
        "guided": loop(noise, lambda x0: m * (target - x0), 3, (0.5, 0.1), [contexts("a cat"), contexts("a dog")], 3.0)},
        rounding=3e-4)


# ---- the same network taken for a flow: InstaFlow's sign and times ----

def flow_clean(x, sigma, branches, guidance):
    """x0 of o = x0 - noise at x = (1 - sigma) x0 + sigma noise, which is fed 1000 sigma."""
    o = [unet(x, torch.tensor([1000.0 * sigma]), c.expand(len(x), -1, -1)).sample for c in branches]
    return x + sigma * (o[0] if len(o) == 1 else o[1] + guidance * (o[0] - o[1]))


def flow_loop(x, error, K, lr, branches, guidance=1.0, steps=STEPS):
    """Euler's steps of equal length: x + o / N."""
    for i in range(steps):
        sigma = 1.0 - i / steps
        x0 = flow_clean(x, sigma, branches, guidance)
        for k in range(K):
            e = error(x0)
            h = max(0.005, 2**-11.5) / per_sample(e)
            d = (flow_clean(x + h * e, sigma, branches, guidance) - x0) / h
            x = x + (lr[0] + (lr[1] - lr[0]) * k / (K - 1)) * d / per_sample(d)
            x0 = flow_clean(x, sigma, branches, guidance)
        x = x + (x0 - x) / sigma / steps
    return x


with torch.no_grad():
    save(out / "flow.safetensors", {
        "start": noise,
        "sampled": flow_loop(noise, None, 0, None, [contexts("a cat")]),
        "plain": flow_loop(noise, lambda x0: m * (target - x0), 3, (0.5, 0.1), [contexts("a cat")]),
        "guided": flow_loop(noise, lambda x0: m * (target - x0), 3, (0.5, 0.1), [contexts("a cat"), contexts("a dog")], 1.5),
        **{f"sampled_{n}": flow_loop(noise, None, 0, None, [contexts("a cat")], steps=n) for n in (1, 2, 8)},
        **{f"plain_{n}": flow_loop(noise, lambda x0: m * (target - x0), 3, (0.5, 0.1), [contexts("a cat")], steps=n)
           for n in (1, 2, 8)}},
        rounding=3e-4)

small = torch.from_numpy(picture[:16, :24].copy()).float().permute(2, 0, 1)[None] / 127.5 - 1


def by_encoder(x0):
    """VAE-Newton as published, but with the adjoint of the resize, which is ours."""
    with torch.enable_grad():
        pixels = decode(x0).detach().requires_grad_()
        loss = 0.5 * (small - resize(pixels, 16, 24)).square().sum()
        e = -torch.autograd.grad(loss, pixels)[0]
    pixels = pixels.detach()
    e = encode(pixels + 0.005 * e / per_sample(e)) - encode(pixels)
    return e / per_sample(e)


def by_decoder(x0):
    with torch.enable_grad():
        z = x0.detach().requires_grad_()
        loss = (small - resize(decode(z), 16, 24)).square().sum().sqrt()
        e = -torch.autograd.grad(loss, z)[0]
    return e / per_sample(e)


with torch.no_grad():
    noise = numbers("start", 1, 4, 8, 12)  # the first of the two
    save(out / "superres.safetensors", {
        "start": noise,
        "encoder": loop(noise, by_encoder, 3, (0.5, 0.5), [contexts("")]),
        "decoder": loop(noise, by_decoder, 3, (0.1, 0.1), [contexts("")])}, rounding=1.5e-3)


# ---- style (section 2) and the studies of the Jacobian (sections 3 and 4) ----

clip = randomize(CLIPVisionModel(CLIPVisionConfig(
    hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4, image_size=32, patch_size=8)), "clip/")
clip.save_pretrained(out / "clip")
Image.fromarray(picture[:56, -76:]).save(out / "style.png")


def gram(images):
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    deviation = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    pixels = 0.5 * torch.nn.functional.interpolate(images, (32, 32), mode="bicubic", antialias=True) + 0.5
    features = clip((pixels - mean) / deviation, output_hidden_states=True).hidden_states[3][:, 1:]
    return features.mT @ features


def by_style(x0):
    with torch.enable_grad():
        z = x0.detach().requires_grad_()
        loss = torch.linalg.matrix_norm(style - gram(decode(z))).sum()
        return -torch.autograd.grad(loss, z)[0]


def estimate(x, t=600):
    return clean(x, t, [contexts("")], 1.0)


def at_time(t):
    return abar[t].sqrt().float() * encode(image) + (1 - abar[t]).sqrt().float() * noise


def jvp(v):
    h = max(0.005, 2**-11.5) * max(1.0, float(((1 - abar[600]) / abar[600]).sqrt())) / v.abs().max()
    return (estimate(x + h * v) - estimate(x)) / h


def vjp(w):
    with torch.enable_grad():
        point = x.clone().requires_grad_()
        return torch.autograd.grad(estimate(point), point, w)[0]


def largest_magnitude(apply, start, n):
    """Of the eigenvalues of Arnoldi's n x n block."""
    basis = [start / start.norm()]
    block = torch.zeros(n, n, dtype=torch.float64)
    for k in range(n):
        w = apply(basis[k])
        for _ in range(2):
            for i, q in enumerate(basis):
                overlap = (q * w).sum()
                block[i, k] += overlap
                w = w - overlap * q
        if k + 1 < n:
            block[k + 1, k] = w.norm()
            basis.append(w / w.norm())
    return torch.linalg.eigvals(block).abs().max()


with torch.no_grad():
    square = torch.from_numpy(picture[:56, -66:-10].copy()).float().permute(2, 0, 1)[None] / 127.5 - 1
    style = gram(resize(square, 32, 32))
    save(out / "style.safetensors", {
        "start": noise, "styled": loop(noise, by_style, 3, (0.5, 0.1), [contexts("a cat"), contexts("")], 3.0)}, rounding=3e-4)
    x, earlier = at_time(600), at_time(300)
    v = torch.zeros_like(x)
    v[:, :, 3, 4] = 1.0
    forward, backward = estimate(x + v) - estimate(x), vjp(v)
    # for each channel a v of its own: J v by a difference, and row (v) of the dense Jacobian, which is J^T v
    one_hot = v * torch.eye(4).view(4, 4, 1, 1)
    columns = torch.cat([estimate(x + u) - estimate(x) for u in one_hot.split(1)])
    with torch.enable_grad():
        rows = torch.autograd.functional.jacobian(lambda point: estimate(point)[0, :, 3, 4], x)[:, 0]
    operators = [jvp, vjp, lambda u: (jvp(u) + vjp(u)) / 2, lambda u: (jvp(u) - vjp(u)) / 2]
    save(out / "studies.safetensors", {
        "start": noise, "J v at 300": ((estimate(earlier + 0.1 * v, 300) - estimate(earlier, 300)) / 0.1).norm(dim=1),
        "J v": forward.norm(dim=1), "J^T v": backward.norm(dim=1),
        "log J v": columns.square().sum(0).sqrt().log().mean(0), "log J^T v": rows.square().sum(0).sqrt().log().mean(0),
        "cosine of one-hot": (columns * rows).sum() / (columns.norm() * rows.norm()),
        "cosine": (forward * backward).sum() / (forward.norm() * backward.norm()),
        "largest magnitudes": torch.stack([largest_magnitude(a, estimate(x), 6) for a in operators])}, rounding=3e-4)
