"""The style loss of algorithms.md, section 2, and its gradient, by transformers and autograd on small random encoders."""

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


for name, encoder in (("alone", alone), ("whole", whole.vision_model)):
    for block in (0, 2):
        key = f"{name}/block.{block}/"
        picture = images(key + "picture", 1, 3, 32, 32)
        candidates = images(key + "images", 2, 3, 36, 20).requires_grad_()
        wanted = gram(encoder, picture, block)
        loss = torch.stack([torch.linalg.matrix_norm(wanted[0] - g) for g in gram(encoder, candidates, block)])
        gradient, = torch.autograd.grad(loss.sum(), candidates)
        save(out / name / f"block.{block}.safetensors",
             {"picture": picture, "images": candidates, "loss": loss, "error": -gradient,
              "size": torch.linalg.matrix_norm(wanted)})
