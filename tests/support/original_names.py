"""Networks' parameters under the names of the original files, from those that diffusers gives them."""

import torch
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint, convert_sd3_transformer_checkpoint_to_diffusers


def by_marks(model, convert, names):
    """The state under the original names. `names` are candidates; a marked tensor under each shows which parameter
    diffusers' conversion makes of it."""
    state = model.state_dict()
    marks = {name: torch.full((1,), float(i)) for i, name in enumerate(names)}
    found = convert(marks, model.config)
    missing = set(state) - set(found)
    assert not missing, f"no original name for {sorted(missing)[:3]}"
    return {names[int(found[ours].item())]: tensor for ours, tensor in state.items()}


def autoencoder_names(model):
    """The state of an AutoencoderKL as Stable Diffusion's files have it."""
    resnet = ["norm1", "conv1", "norm2", "conv2", "nin_shortcut"]
    modules = ["quant_conv", "post_quant_conv"]
    for half, blocks in ("encoder", "down"), ("decoder", "up"):
        modules += [f"{half}.{p}" for p in ("conv_in", "norm_out", "conv_out")]
        modules += [f"{half}.mid.block_{i}.{p}" for i in (1, 2) for p in resnet]
        modules += [f"{half}.mid.attn_1.{p}" for p in ("norm", "q", "k", "v", "proj_out")]
        for i in range(len(model.config.block_out_channels)):
            modules += [f"{half}.{blocks}.{i}.block.{j}.{p}" for j in range(3) for p in resnet]
            modules.append(f"{half}.{blocks}.{i}.{blocks}sample.conv")
    names = [f"first_stage_model.{m}.{p}" for m in modules for p in ("weight", "bias")]
    attention = ("attn_1.q.weight", "attn_1.k.weight", "attn_1.v.weight", "attn_1.proj_out.weight")
    found = by_marks(model, convert_ldm_vae_checkpoint, names)
    return {k: v[:, :, None, None] if k.endswith(attention) else v for k, v in found.items()}


def sd3_transformer_names(model):
    """The state as Stability's files have it."""
    state, c = dict(model.state_dict()), model.config
    outer = {"pos_embed.proj": "x_embedder.proj", "context_embedder": "context_embedder", "proj_out": "final_layer.linear",
             "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
             "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
             "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
             "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2"}
    swapped = lambda t: torch.cat(t.chunk(2)[::-1])
    kinds = "weight", "bias"
    found = {"pos_embed": state.pop("pos_embed.pos_embed")}
    for ours, theirs in outer.items():
        found |= {f"{theirs}.{k}": state.pop(f"{ours}.{k}") for k in kinds}
    found |= {f"final_layer.adaLN_modulation.1.{k}": swapped(state.pop(f"norm_out.linear.{k}")) for k in kinds}
    for i in range(c.num_layers):
        block, last = f"transformer_blocks.{i}.", i == c.num_layers - 1
        for side, attention, names, norms in [
                ("x_block", "attn", ("to_q", "to_k", "to_v", "to_out.0"), ("norm_q", "norm_k")),
                ("context_block", "attn", ("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"), ("norm_added_q", "norm_added_k")),
                ("x_block", "attn2", ("to_q", "to_k", "to_v", "to_out.0"), ("norm_q", "norm_k"))]:
            ours, theirs = f"{block}{attention}.", f"joint_blocks.{i}.{side}.{attention}."
            for k in kinds:
                if f"{ours}{names[0]}.{k}" in state:
                    found[f"{theirs}qkv.{k}"] = torch.cat([state.pop(f"{ours}{n}.{k}") for n in names[:3]])
                if f"{ours}{names[3]}.{k}" in state:
                    found[f"{theirs}proj.{k}"] = state.pop(f"{ours}{names[3]}.{k}")
            for norm, name in zip(norms, ("ln_q", "ln_k")):
                if f"{ours}{norm}.weight" in state:
                    found[f"{theirs}{name}.weight"] = state.pop(f"{ours}{norm}.weight")
        for side, norm, feed in ("x_block", "norm1", "ff"), ("context_block", "norm1_context", "ff_context"):
            theirs = f"joint_blocks.{i}.{side}."
            for k in kinds:
                modulation = state.pop(f"{block}{norm}.linear.{k}")
                found[f"{theirs}adaLN_modulation.1.{k}"] = swapped(modulation) if last and side == "context_block" else modulation
                for ours, name in ("net.0.proj", "fc1"), ("net.2", "fc2"):
                    if f"{block}{feed}.{ours}.{k}" in state:
                        found[f"{theirs}mlp.{name}.{k}"] = state.pop(f"{block}{feed}.{ours}.{k}")
    assert not state, sorted(state)
    found = {f"model.diffusion_model.{name}": tensor for name, tensor in found.items()}
    back = convert_sd3_transformer_checkpoint_to_diffusers(dict(found))
    assert back.keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, back[name]) for name, tensor in model.state_dict().items())
    return found
