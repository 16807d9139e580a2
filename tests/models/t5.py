"""T5 v1.1: encoders of transformers, small, with what they give."""

from oracle import folder, randomize, save, torch, whole_numbers
from transformers import T5Config, T5EncoderModel

EOS, PAD = 1, 0
SHAPES = {
    # as T5 v1.1 has it: 32 buckets, of which sequences of 160 reach the last
    "usual": dict(d_model=32, d_kv=8, num_heads=4, d_ff=80, num_layers=3),
    # heads together narrower than the states
    "narrow": dict(d_model=40, d_kv=5, num_heads=3, d_ff=24, num_layers=2, relative_attention_num_buckets=8,
                   relative_attention_max_distance=20, layer_norm_epsilon=1e-3),
    # and wider; an odd number of buckets in each direction
    "wide": dict(d_model=20, d_kv=8, num_heads=6, d_ff=33, num_layers=2, relative_attention_num_buckets=6,
                 relative_attention_max_distance=9),
}


def ids_of(name, length, n):
    """Sequences of several lengths, each with its end and padding."""
    rows = []
    for i in range(n):
        body = (3 + whole_numbers(f"{name}/{length}.{i}", max(0, length - 1 - 5 * i), end=57)).tolist()
        row = [*body, EOS]
        rows.append(row + [PAD] * (length - len(row)))
    return torch.tensor(rows)


def encoders(root):
    for name, shape in SHAPES.items():
        model = randomize(T5EncoderModel(T5Config(vocab_size=60, feed_forward_proj="gated-gelu", **shape)), name + "/")
        model.save_pretrained(root / name)
        expected = {}
        for length, n in (1, 1), (7, 2), (40, 2), (160, 1):
            ids = ids_of(name, length, n)
            expected |= {f"{length}.ids": ids, f"{length}.last": model(ids).last_hidden_state}  # no mask
        save(root / name / "expected.safetensors", expected)
        state = {k: v for k, v in model.state_dict().items() if k != "encoder.embed_tokens.weight"}
        save(root / name / "single.safetensors", {f"text_encoders.t5xxl.transformer.{k}": v for k, v in state.items()})
        state["encoder.embed_tokens.weight"] = state.pop("shared.weight")
        save(root / name / "other_embedding.safetensors", state)


if __name__ == "__main__":
    encoders(folder())
