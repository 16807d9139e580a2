"""T5 v1.1: encoders and tokenizers of transformers, small, with what they give.

`t5.py FOLDER full` makes the tokenizers with the whole of SentencePiece's character map instead of a part.
"""

import json
import pathlib
import shutil
import struct
import sys
import tempfile

import numpy
import sentencepiece
from oracle import folder, randomize, save, torch, whole_numbers
from sentencepiece.sentencepiece_model_pb2 import ModelProto
from transformers import T5Config, T5EncoderModel, T5Tokenizer

sys.path.append(str(pathlib.Path(__file__).parent))
from clip import ASSIGNED, RANGES, added, dice, hashed, made_up_words, ragged, texts, write_json  # noqa: E402

sentencepiece.set_min_log_level(2)
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
        for length, n in [(1, 1), (7, 2), (40, 1)] + [(160, 1)] * (name == "usual"):
            ids = ids_of(name, length, n)
            expected |= {f"{length}.ids": ids, f"{length}.last": model(ids).last_hidden_state}  # no mask
        save(root / name / "expected.safetensors", expected)
        state = {k: v for k, v in model.state_dict().items() if k != "encoder.embed_tokens.weight"}
        save(root / name / "single.safetensors", {f"text_encoders.t5xxl.transformer.{k}": v for k, v in state.items()})
        state["encoder.embed_tokens.weight"] = state.pop("shared.weight")
        save(root / name / "other_embedding.safetensors", state)


# --- Tokenizers

def map_of(**options):
    """A character map that SentencePiece makes."""
    model = ModelProto.FromString(sentencepiece.SentencePieceNormalizer(**options).serialized_model_proto())
    return model.normalizer_spec.precompiled_charsmap


def rules_of(character_map):
    """What a character map changes: {string: string}."""
    size, = struct.unpack("<I", character_map[:4])
    units, strings = struct.unpack(f"<{size // 4}I", character_map[4:4 + size]), character_map[4 + size:]
    rules, todo = {}, [(0, b"")]
    while todo:
        at, key = todo.pop()
        below = at ^ (units[at] >> 10 << (units[at] >> 6 & 8))
        if key and units[at] >> 8 & 1:
            place = units[below] & 0x7FFFFFFF
            rules[key.decode()] = strings[place:strings.index(0, place)].decode()
        todo += [(below ^ byte, key + bytes([byte])) for byte in range(1, 256) if units[below ^ byte] & 0x800000FF == byte]
    return rules


def map_of_rules(rules):
    with tempfile.TemporaryDirectory() as temporary:
        path = pathlib.Path(temporary) / "rules.tsv"
        path.write_text("".join(f"{' '.join(f'{ord(c):X}' for c in k)}\t{' '.join(f'{ord(c):X}' for c in v)}\n"
                                for k, v in sorted(rules.items())))
        return map_of(rule_tsv=str(path))


def part_of_the_map():
    """T5's map, nmt_nfkc, without most of Hangul and of the ideographs that are there twice: they fill three quarters."""
    whole = rules_of(map_of(rule_name="nmt_nfkc"))
    kept = {k: v for k, v in whole.items() if not any("\uac1d" <= c <= "\ud7a3" for c in v) and
            not any("\uf910" <= c <= "\ufaff" or "\U0002f810" <= c for c in k)}
    return map_of_rules(kept)


def spiece_model(rng, character_map, size=1000):
    """A model of T5's form, whose pieces are parts of made-up words; no training makes it, so that it is the same
    everywhere."""
    model = ModelProto()
    model.trainer_spec.model_type = 1
    model.trainer_spec.pad_id, model.trainer_spec.eos_id, model.trainer_spec.unk_id, model.trainer_spec.bos_id = 0, 1, 2, -1
    model.normalizer_spec.name = "nmt_nfkc"
    model.normalizer_spec.precompiled_charsmap = character_map
    for piece, kind in ("<pad>", 3), ("</s>", 3), ("<unk>", 2):
        model.pieces.add(piece=piece, score=0.0, type=kind)
    words = ["\u2581" + word for word in made_up_words(dice("vocabulary"))]
    seen = set()

    def add(piece):
        if piece not in seen and "\u2581" not in piece[1:]:
            seen.add(piece)
            score = -2 - 11 * len(seen) / size - rng.below(2**16) / 2**16
            model.pieces.add(piece=piece, score=float(numpy.float32(score)), type=1)

    for piece in ["\u2581", *map(chr, range(0x21, 0x7B)), "!!", "!!!", "...", "xx", "xxx", "\u2581a", "\u2581the", "ing", "\u00e9", "\u0301",
                  "\u2581\u00e9", "\uac00", "\u1112", "\u4e2d", "ssi", "\u0439", "\u00c5", "\u2581\u00c5", "\U0001f600", "\u0300"]:
        add(piece)
    while len(model.pieces) < size:
        word = rng.choice(words)
        start = rng.below(len(word))
        add(word[start:start + rng.between(1, 5)])
    return model.SerializeToString(deterministic=True)


def write_tokenizers(root, character_map):
    """Folders as they are found: the model alone, Stable Diffusion 3's, with learnt tokens, as one file."""
    model = spiece_model(dice("pieces"), character_map)
    n = len(ModelProto.FromString(model).pieces)
    special = {"eos_token": added("</s>", normalized=False), "pad_token": added("<pad>", normalized=False),
               "unk_token": added("<unk>", normalized=False)}
    extra = [f"<extra_id_{i}>" for i in range(100)]
    decoder = {str(i): added(token, normalized=False, special=True) for i, token in enumerate(("<pad>", "</s>", "<unk>"))}
    sd3 = decoder | {str(n + 99 - i): added(token, lstrip=True, rstrip=True, normalized=False, special=True)
                     for i, token in enumerate(extra)}
    names = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    learnt = decoder | {str(n + 3): added("<cat-Toy>", normalized=False), str(n + 4): added("<Style>"),
                        str(n + 5): added("moss", single_word=True), str(n + 6): added("\uff34oy")}
    files = {"plain": {},
             "sd3": {"tokenizer_config": names | {"added_tokens_decoder": sd3, "additional_special_tokens": extra, "extra_ids": 100,
                                                  "legacy": True, "model_max_length": 512, "tokenizer_class": "T5Tokenizer"},
                     "special_tokens_map": special | {"additional_special_tokens": extra}},
             "learnt": {"tokenizer_config": names | {"added_tokens_decoder": learnt, "extra_ids": 3, "model_max_length": 32,
                                                     "tokenizer_class": "T5Tokenizer"}}}
    for name, contents in files.items():
        (root / name).mkdir(parents=True)
        (root / name / "spiece.model").write_bytes(model)
        for file, value in contents.items():
            write_json(root / name / f"{file}.json", value)
    return sorted(root.iterdir())


def write_tokenizer_json(path, character_map):
    """As transformers 5 saves it: without the model of SentencePiece."""
    (path / "model").mkdir(parents=True)
    (path / "model" / "spiece.model").write_bytes(spiece_model(dice("few pieces"), character_map, size=200))
    T5Tokenizer.from_pretrained(path / "model", extra_ids=4).save_pretrained(path)
    shutil.rmtree(path / "model")
    (path / "spiece.model").unlink(missing_ok=True)
    for name in "tokenizer.json", "tokenizer_config.json":
        write_json(path / name, json.loads((path / name).read_text()))  # on one line


def save_tokens(path, tokenizer, strings):
    """Tokens of the strings, and some of them padded as Stable Diffusion 3 does it."""
    padded = {f"padded.{length}": tokenizer(strings[:40], padding="max_length", max_length=length, truncation=True,
                                            return_tensors="pt").input_ids for length in (1, 2, 77)}
    tokens, ends = ragged(tokenizer(strings, add_special_tokens=False).input_ids, numpy.int64)
    text, text_ends = ragged([list(s.encode()) for s in strings], numpy.uint8)
    save(path / "expected.safetensors", padded | {"tokens": tokens, "token_ends": ends, "text": text, "text_ends": text_ends})


def more_texts():
    """What T5's tokenizer can trip over besides."""
    return ["<extra_id_0>", "a <extra_id_0> b<extra_id_1>c <extra_id_99><extra_id_100>", "</s>", "a</s>b <pad> <unk>", "</S> <extra_id_00>",
            "\uff1cextra_id_5\uff1e \uff1cunk\uff1ex \uff1c/s\uff1e", "\u2581", "a\u2581b \u2581c\u2581", "!" * 50, "wow!!! no!! yes!!!!", "x" * 77,
            "a\u0085b\u2028c\u00a0d\u200be", "<extra_id_0> \u0301", "  lead", "trail  ", "Toy \uff34oy toy <cat-Toy>Toys", "...a....b.....", "ＦＵＬＬ　ｗｉｄｔｈ！！！"]


def tokenizers(root, character_map):
    strings = texts(dice("texts")) + more_texts()
    assert len(set(strings)) > 1000
    for path in write_tokenizers(root, character_map):
        tokenizer = T5Tokenizer.from_pretrained(path)
        save_tokens(path, tokenizer, strings)
    single = root / "single"
    write_tokenizer_json(single, map_of_rules({"A": "a", "a\u0301": "\u00e9", "\t": " ", "\u00a0": "", "\u2460": "1xx"}))
    save_tokens(single, T5Tokenizer.from_pretrained(single), strings[::16] + more_texts() + ["\u00a0 A\u0301a\u0301\ta\u2460 A"])
    strings = ["".join(f"a{c}b {c} A{c} " for c in ASSIGNED[i:i + 64]) for i in range(0, len(ASSIGNED), 64)]
    tokenizer = T5Tokenizer.from_pretrained(root / "plain")
    rows = tokenizer(strings, add_special_tokens=False).input_ids
    save(root / "plain" / "characters.safetensors", {
        "ranges": torch.tensor(RANGES), "hashes": torch.from_numpy(numpy.array([hashed(r) for r in rows], "u8").view("i8"))})


if __name__ == "__main__":
    root = folder()
    if sys.argv[2:] == ["full"]:
        tokenizers(root / "tokenizers", map_of(rule_name="nmt_nfkc"))
    else:
        encoders(root)
        tokenizers(root / "tokenizers", part_of_the_map())
