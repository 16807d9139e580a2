"""The style loss and its gradient, by transformers and autograd on small random encoders."""

import numpy as np
from oracle import folder, images, randomize, save, torch
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig, CLIPVisionModel

out = folder()
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
DEVIATION = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
shape = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4, image_size=32, patch_size=8)
alone = randomize(CLIPVisionModel(CLIPVisionConfig(**shape, hidden_act="quick_gelu")), "alone/")
alone.save_pretrained(out / "alone")
text = CLIPTextConfig(vocab_size=20, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
whole = randomize(CLIPModel(CLIPConfig(text_config=text.to_dict(), projection_dim=8,
                                       vision_config=CLIPVisionConfig(**shape, hidden_act="gelu").to_dict())), "whole/")
whole.save_pretrained(out / "whole")


def gram(encoder, pictures, block):
    """A matrix an image: sums of products of features, over the patches."""
    pixels = torch.nn.functional.interpolate(pictures, (32, 32), mode="bicubic", antialias=True)
    states = encoder((0.5 * pixels + 0.5 - MEAN) / DEVIATION, output_hidden_states=True).hidden_states
    return torch.stack([f[1:].T @ f[1:] for f in states[block + 1]])


def imresize(picture, size):
    """The reference's resize of the style picture, written from MATLAB's: each output is a mean of the mirrored picture, with
    the weights of a cubic (a = -1/2) stretched by the ratio. Nothing is clamped."""
    for axis in (2, 3):
        array = np.moveaxis(picture, axis, 0)
        n = len(array)
        padded = np.concatenate([array[::-1], array, array[::-1]])  # the edge pixel twice
        stretch = max(n / size, 1.0)
        outputs = []
        for i in range(size):
            x = np.abs(np.arange(-n, 2 * n) - ((i + 0.5) * n / size - 0.5)) / stretch
            w = np.where(x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x < 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0))
            outputs.append(np.tensordot(w / w.sum(), padded, 1))
        picture = np.moveaxis(np.stack(outputs), 0, axis)
    return picture


for name, encoder in (("alone", alone), ("whole", whole.vision_model)):
    for block in (0, 2):
        key = f"{name}/block.{block}/"
        picture = images(key + "picture", 1, 3, *((52, 44) if block == 0 else (20, 32)))
        resized = torch.from_numpy(imresize(picture.double().numpy(), 32)).float()
        candidates = images(key + "images", 2, 3, 36, 20).requires_grad_()
        wanted = gram(encoder, resized, block)
        loss = torch.stack([torch.linalg.matrix_norm(wanted[0] - g) for g in gram(encoder, candidates, block)])
        gradient, = torch.autograd.grad(loss.sum(), candidates)
        save(out / name / f"block.{block}.safetensors",
             {"picture": picture, "resized picture": resized, "images": candidates, "loss": loss, "error": -gradient,
              "size": torch.linalg.matrix_norm(wanted)})
