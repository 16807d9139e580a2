"""CLIP: tokenizers, text and vision encoders of transformers, small, with what they give.

`clip.py FOLDER full` makes the encoders of Stable Diffusion 1.x and 2.x and ViT-B/16 in full size instead.
"""

import json
import pathlib
import sys
import unicodedata

import numpy
from oracle import folder, images, numbers, randomize, save, torch, whole_numbers, words
from PIL import Image
from transformers import (CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer,
                          CLIPVisionConfig, CLIPVisionModel, CLIPVisionModelWithProjection)

START, END = "<|startoftext|>", "<|endoftext|>"
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"]
# first and last of the code points that Unicode 14 assigns, without surrogates and the private planes: Python's own
# tables grow with its version
RANGES = [tuple(int(c, 16) for c in line.split())
          for line in (pathlib.Path(__file__).parent / "unicode_14.txt").read_text().splitlines()]
ASSIGNED = [chr(c) for first, last in RANGES for c in range(first, last + 1)]


# --- Tokenizers

class dice:
    """Chance that is the same with every version of Python."""

    def __init__(self, key):
        self.words = iter(words(key, 10**6).tolist())

    def below(self, end):
        return next(self.words) % end

    def between(self, first, last):
        return first + self.below(last - first + 1)

    def choice(self, items):
        return items[self.below(len(items))]


def byte_symbols():
    """The characters that stand for the 256 bytes, in the vocabulary's order; and byte -> character."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    symbol = {b: chr(b) for b in printable} | {b: chr(0x100 + i) for i, b in enumerate(others)}
    return list(symbol.values()), symbol


def made_up_words(rng, each=12):
    """Words of many scripts, so that merges cross the bytes of a character, and more of the Latin one."""
    alphabets = [(0xE0, 0xFF), (0x3B1, 0x3C9), (0x430, 0x44F), (0x561, 0x586), (0x5D0, 0x5EA), (0x627, 0x64A), (0x905, 0x939),
                 (0xE01, 0xE2E), (0x10D0, 0x10F0), (0x1100, 0x1112), (0x3041, 0x3096), (0x4E00, 0x4E40), (0xAC00, 0xAC80),
                 (0x1F600, 0x1F640), (0x300, 0x340)]
    syllables = [c + v for c in "bcdfghklmnprstvw" for v in "aeiou"] + ["the", "ing", "tion", "er", "str", "ou", "and", "ght"]
    return ["".join(chr(rng.between(*alphabet)) for _ in range(rng.between(1, 6))) for alphabet in alphabets
            for _ in range(each)] + ["".join(rng.choice(syllables) for _ in range(rng.between(1, 4))) for _ in range(10 * each)]


def vocabulary(rng, size=1200):
    """One of CLIP's form, of pairs that chance merges in made-up words: (ids, merges)."""
    symbols, symbol = byte_symbols()
    parts = []
    for word in made_up_words(rng) + 5 * CONTRACTIONS:
        part = [symbol[b] for b in unicodedata.normalize("NFC", word).lower().encode()]
        parts.append(part[:-1] + [part[-1] + "</w>"])
    ids = {token: i for i, token in enumerate(symbols + [s + "</w>" for s in symbols])}
    merges = []
    while len(ids) < size - 2:
        part = rng.choice(parts)
        if len(part) > 1:
            at = rng.below(len(part) - 1)
            pair = tuple(part[at:at + 2])
            part[at:at + 2] = ["".join(pair)]
            if pair not in merges:
                merges.append(pair)
                ids.setdefault("".join(pair), len(ids))
    return ids | {START: len(ids), END: len(ids) + 1}, merges


def added(content, **flags):
    return {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False} | flags


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def write_tokenizer(path, ids, merges, **files):
    path.mkdir(parents=True)
    write_json(path / "vocab.json", ids)
    (path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(m) for m in merges) + "\n", encoding="utf-8")
    for name, value in files.items():
        write_json(path / f"{name}.json", value)


def write_tokenizers(root, rng):
    """Folders as they are found: Stable Diffusion 1.x and 2.x, without configuration, with learnt tokens, as one file."""
    ids, merges = vocabulary(rng)
    typed = {"__type": "AddedToken"}
    config = {"bos_token": added(START) | typed, "eos_token": added(END) | typed, "unk_token": added(END) | typed,
              "pad_token": END, "model_max_length": 77, "add_prefix_space": False, "do_lower_case": True, "errors": "replace",
              "tokenizer_class": "CLIPTokenizer"}
    names = {"bos_token": added(START), "eos_token": added(END), "unk_token": added(END)}
    write_tokenizer(root / "sd1", ids, merges, tokenizer_config=config, special_tokens_map=names | {"pad_token": END})
    write_tokenizer(root / "sd2", ids, merges, tokenizer_config=config, special_tokens_map=names | {"pad_token": "!"})
    write_tokenizer(root / "bare", ids, merges)
    n = len(ids)
    decoder = {"0": added("!", normalized=False, special=True), str(ids[START]): added(START, special=True),
               str(ids[END]): added(END, normalized=False, special=True), str(n): added("<cat-Toy>", normalized=False),
               str(n + 1): added("<Style>"), str(n + 2): added("moss", single_word=True),
               str(n + 3): added("<cat-Toy>_1", normalized=False)}
    write_tokenizer(root / "learnt", ids, merges, tokenizer_config={
        "added_tokens_decoder": decoder, "bos_token": START, "eos_token": END, "unk_token": END, "pad_token": "!",
        "model_max_length": 32, "tokenizer_class": "CLIPTokenizer"})
    write_tokenizer(root / "old", ids, merges, tokenizer_config=config, special_tokens_map=names | {"pad_token": END},
                    added_tokens={"<cat-Toy>": n, "MOSS": n + 1})
    CLIPTokenizer.from_pretrained(root / "learnt").save_pretrained(root / "saved")
    CLIPTokenizer.from_pretrained(root / "sd2").save_pretrained(root / "single")
    (root / "single" / "tokenizer_config.json").unlink()
    for name in "saved", "single":
        write_json(root / name / "tokenizer.json", json.loads((root / name / "tokenizer.json").read_text()))  # on one line
    return sorted(root.iterdir())


def texts(rng):
    """Strings that differ in every way that a tokenizer can trip over."""
    fixed = [
        "cat " * 80, "cat" * 80, "x" * 300, "é" * 100, "😀" * 80, "ab" * 300, "word" + "!" * 200, "1" * 80, "a b" + " " * 1000 + "c",
        " ".join(f"{i}" for i in range(80)), "antidisestablishmentarianism" * 5,
        "", " ", "\n", "\t \u00a0\u2003\u3000 x\r\n\v\fy\u0085z\u1680.\u2028\u2029", "a photo of an astronaut riding a horse",
        "A PHOTO, of (an) [astronaut]... riding??? a-horse!!", "wow! 100% of 1234567890 cats, 3.14e-5 or 1/2 ½ ²³ Ⅷ ٣ 四 ௧",
        "it's they're I'VE i'm we'll he'd don't ain'T 'S 's's ''s '' 'tis rock'n'roll o'd'd", "'sand 'real 'velvet 'mad 'lllama",
        "<|endoftext|>", "<|startoftext|>", "a<|endoftext|>b <|ENDOFTEXT|>!! <|EndOfText|>x <|startofTEXT|>", "<|endoftext|",
        "<|endoftext|><|startoftext|><|endoftext|>", "end|of|text <|end of text|>", "cat </w> a</w>b Ġcat ĠĠ Ċ", "!", "!!", "! a!b !!!",
        "İstanbul I ı İİ", "Straße STRASSE ẞ ß", "ΣΊΣΥΦΟΣ ΟΔΟΣ ς Σ Σ. ΑΣ", "ǅ Ǆ ǆ ﬁ ﬃ Ŀ ŉ ǰ ΐ ὒ ᾳ ᾼ Ω K Å", "ﬀ ﷺ ﷽",
        "café cafe\u0301 CAFE\u0301 A\u030a e\u0323\u0302 e\u0302\u0323 q\u0307\u0323", "\u0301 \u0301a a\u0300\u0301\u0302\u0303", "한국어 \u1112\u1161\u11ab 가나다",
        "日本語のテキスト、漢字 かな カナ。", "中文文本没有空格", "שלום עולם \u202babc\u202c", "مرحبا بالعالم لُغَة ١٢٣", "नमस्ते दुनिया क्षि", "สวัสดีชาวโลก", "ქართული ᲥᲐᲠᲗᲣᲚᲘ",
        "Привет, МИР! ЁЖ ёж е\u0308ж", "Ꭰꭰ Ა ⴀ Ⴀ", "👩‍👩‍👧‍👦 👍🏽 🏳️‍🌈 🇩🇪🇫🇷 ❤️ ☺︎ 1️⃣ 🧑🏿‍🚀", "😀😀😀 😀cat😀", "\U0001d400\U0001d7d8 𝕳𝖊𝖑𝖑𝖔 𐐀𐐨 \U00020000\U0002a6d6", "\u200b\u200c\u200d\ufeff\u00ad",
        "\x00\x01\x1b[31m\x1c\x1d\x1e\x1f\x7f\x80\x9f", "\ue000\uf8ff\ufdd0\ufffe\uffff\U0010ffff\U000f0000", "\ufffd", "a\u0340b\u0341 \u212b\u2126\u212a \u0958 \ufb1d",
        "snake_case CamelCase kebab-case http://example.org/?q=a&b=c#d user@example.org C:\\dir\\*.txt", "((masterpiece:1.2)), [bad], {x|y}, <lora:n:1>",
        "<cat-Toy> <cat-toy> <CAT-TOY> x<cat-Toy>x <cat-Toy>_1 <cat-Toy>_12", "<Style> <style> <STYLE>s a<StYlE>b",
        "moss Moss MOSS mossy a moss. amoss moss_ moss1 émoss moss\u0301 -moss- mossmoss moss moss (moss)", "<cat-Toy>moss <Style>moss moss<Style>"]
    for script in [[(0x41, 0x24F), (0x1E00, 0x1EFF), (0xFF21, 0xFF5A)], [(0x370, 0x3FF), (0x1F00, 0x1FFF)], [(0x400, 0x52F)],
                   [(0x600, 0x6FF), (0xFB50, 0xFDFF)], [(0x591, 0x5F4)], [(0x900, 0x97F)], [(0xB82, 0xBFA)], [(0xE01, 0xE5B)],
                   [(0x1100, 0x11FF), (0xAC00, 0xD7A3)], [(0x3041, 0x309F)], [(0x1200, 0x139F)], [(0x13A0, 0x13FD), (0xAB70, 0xABBF)],
                   [(0x1F300, 0x1F64F)], [(0x1D400, 0x1D7FF)], [(0x300, 0x36F)], [(0x1D100, 0x1D1E8)]]:
        letters = [c for c in ASSIGNED if any(first <= ord(c) <= last for first, last in script)]
        for _ in range(15):
            fixed.append("".join(rng.choice(letters) + rng.choice(["", "", "", " ", "'s", "\u0301"]) for _ in range(rng.between(1, 6))))
    spice = [" ", " ", " ", "  ", "\t", "\u00a0", "\n", ".", ",", "!", "-", "'", "\"", *CONTRACTIONS, *[c.upper() for c in CONTRACTIONS], "7", "42",
             "\u0301", "\u200d", "😀", "👩‍🚀", "🇯🇵", "<|endoftext|>", "<|EndOfText|>", "<Style>", "<cat-Toy>", "moss", "Σ", "ß", "İ", "é", "中", "\u3000"]
    known = made_up_words(dice("vocabulary")) + made_up_words(rng)  # the vocabulary's own, and others
    for _ in range(600):
        fixed.append("".join(rng.choice([rng.choice(known), rng.choice(known).upper(), rng.choice(spice)])
                             for _ in range(rng.between(1, 6))))
    ends = [sum(c < chr(end) for c in ASSIGNED) for end in (0x250, 0x3000, 0x20000)]
    for _ in range(400):  # any assigned characters
        fixed.append("".join(ASSIGNED[rng.below(rng.choice(ends))] for _ in range(rng.between(1, 6))))
    return fixed


def hashed(tokens):
    """Tells rows of ids apart: FNV-1a of whole ids."""
    value = 0xCBF29CE484222325
    for token in tokens:
        value = (value ^ token) * 0x100000001B3 % 2**64
    return value


def every_character(path):
    """Each assigned character between letters, alone, and after a letter; 64 a string, of which a hash is kept."""
    strings = ["".join(f"a{c}b {c} A{c} " for c in ASSIGNED[i:i + 64]) for i in range(0, len(ASSIGNED), 64)]
    rows = CLIPTokenizer.from_pretrained(path)(strings, add_special_tokens=False).input_ids
    save(path / "characters.safetensors", {
        "ranges": torch.tensor(RANGES), "hashes": torch.from_numpy(numpy.array([hashed(r) for r in rows], "u8").view("i8"))})


def ragged(rows, kind):
    """Rows of different lengths end to end, and where they end."""
    ends = numpy.cumsum([len(r) for r in rows])
    return torch.from_numpy(numpy.concatenate([numpy.asarray(r, dtype=kind) for r in rows])), torch.from_numpy(ends)


def tokenizers(root):
    strings = texts(dice("texts"))
    assert len(set(strings)) > 1000
    for path in write_tokenizers(root / "tokenizers", dice("vocabulary")):
        tokenizer = CLIPTokenizer.from_pretrained(path)
        padded = tokenizer(strings[:40], padding="max_length", max_length=min(tokenizer.model_max_length, 77), truncation=True,
                           return_tensors="pt").input_ids
        tokens, token_ends = ragged(tokenizer(strings, add_special_tokens=False).input_ids, numpy.int64)
        text, text_ends = ragged([list(s.encode()) for s in strings], numpy.uint8)
        save(path / "expected.safetensors", {"padded": padded, "tokens": tokens, "token_ends": token_ends, "text": text,
                                             "text_ends": text_ends})
    every_character(root / "tokenizers" / "sd1")


# --- Encoders

def rewritten(state, outer, blocks_from, blocks_to):
    """transformers' parameters under OpenAI's names; query, key and value become one."""
    parts = {"self_attn.out_proj": "attn.out_proj", "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc",
             "mlp.fc2": "mlp.c_proj"}
    result = {}
    for name, value in state.items():
        if name in outer:
            result[outer[name]] = value
        elif name.startswith(blocks_from):
            number, rest = name[len(blocks_from):].split(".", 1)
            module, kind = rest.rsplit(".", 1)
            block = f"{blocks_to}{number}."
            if module in parts:
                result[f"{block}{parts[module]}.{kind}"] = value
            elif module == "self_attn.q_proj":
                fused = [state[f"{blocks_from}{number}.self_attn.{p}_proj.{kind}"] for p in "qkv"]
                result[f"{block}attn.in_proj_{kind}"] = torch.cat(fused)
    return result


def text_model_of(model):
    return getattr(model, "text_model", model)


def open_clip_text(model, prefix):
    """As OpenCLIP keeps it; the projection is transposed."""
    state = text_model_of(model).state_dict()
    outer = {"embeddings.token_embedding.weight": "token_embedding.weight", "embeddings.position_embedding.weight": "positional_embedding",
             "final_layer_norm.weight": "ln_final.weight", "final_layer_norm.bias": "ln_final.bias"}
    result = rewritten(state, outer, "encoder.layers.", "transformer.resblocks.")
    if hasattr(model, "text_projection"):
        result["text_projection"] = model.text_projection.weight.T
    return {prefix + name: value for name, value in result.items()}


def openai_vision(model, prefix="visual."):
    state = model.vision_model.state_dict()
    outer = {"embeddings.class_embedding": "class_embedding", "embeddings.patch_embedding.weight": "conv1.weight",
             "embeddings.position_embedding.weight": "positional_embedding"}
    outer |= {f"pre_layrnorm.{k}": f"ln_pre.{k}" for k in ("weight", "bias")}
    outer |= {f"post_layernorm.{k}": f"ln_post.{k}" for k in ("weight", "bias")}
    result = rewritten(state, outer, "encoder.layers.", "transformer.resblocks.")
    result["proj"] = model.visual_projection.weight.T
    return {prefix + name: value for name, value in result.items()}


def text_ids(config, n, length, pad):
    """Sequences of several lengths, each with start, end and padding."""
    rows = []
    for i in range(n):
        body = (1 + whole_numbers(f"ids/{length}.{pad}.{i}", max(0, length - 2 - 2 * i), end=config.vocab_size - 4)).tolist()
        row = [config.vocab_size - 2, *body, config.vocab_size - 1][-length:]
        rows.append(row + [pad] * (length - len(row)))
    return torch.tensor(rows)


def text_expected(model, config, projected=None):
    """Both paddings, several lengths; the penultimate state also from a model that lacks the last block."""
    expected = {}
    body = text_model_of(model)
    for length in (1, 7, 16):
        for pad in (0, config.vocab_size - 1):
            ids = text_ids(config, 3, length, pad)
            out = body(ids, output_hidden_states=True)
            name = f"{length}.{pad}."
            expected |= {name + "ids": ids, name + "last": out.last_hidden_state, name + "pooled": out.pooler_output,
                         name + "penultimate": body.final_layer_norm(out.hidden_states[-2]), name + "hidden": out.hidden_states[-2]}
            if projected:
                expected[name + "projected"] = projected(out.pooler_output)
    layers = body.encoder.layers
    body.encoder.layers = layers[:-1]
    assert torch.equal(body(ids).last_hidden_state, expected[name + "penultimate"])
    body.encoder.layers = layers
    return expected


def text_config(act, **more):
    return CLIPTextConfig(**dict(hidden_size=32, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4, hidden_act=act,
                                 vocab_size=60, max_position_embeddings=16, projection_dim=24, layer_norm_eps=1e-3, pad_token_id=0,
                                 bos_token_id=58, eos_token_id=59) | more)


def text_encoders(root):
    for name, kind, config in [("text_quick_gelu", CLIPTextModel, text_config("quick_gelu")),
                               ("text_gelu", CLIPTextModelWithProjection, text_config("gelu")),
                               ("text_greatest_id", CLIPTextModel, text_config("quick_gelu", eos_token_id=2))]:
        model = randomize(kind(config), "text/")
        model.save_pretrained(root / name)
        expected = text_expected(model, config, getattr(model, "text_projection", None))
        save(root / name / "expected.safetensors", expected)
        state = {f"text_model.{k}": v for k, v in text_model_of(model).state_dict().items()}
        positions = {"text_model.embeddings.position_ids": torch.arange(config.max_position_embeddings)[None]}
        save(root / name / "old_keys.safetensors", state | positions)  # as transformers 4 wrote them
        save(root / name / "ldm1.safetensors", {f"cond_stage_model.transformer.{k}": v for k, v in (state | positions).items()})
        save(root / name / "ldm2.safetensors", open_clip_text(model, "cond_stage_model.model."))


def vision_config(act, **more):
    return CLIPVisionConfig(**dict(hidden_size=32, intermediate_size=80, num_hidden_layers=4, num_attention_heads=4, hidden_act=act,
                                   image_size=16, patch_size=8, projection_dim=24, layer_norm_eps=1e-3) | more)


MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
DEVIATION = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)


def pixels_by_pillow(image, size):
    """[-1, 1] -> what CLIP takes, resized by Pillow in float32, which knows nothing of torch."""
    planes = [numpy.asarray(Image.fromarray(plane, mode="F").resize((size, size), Image.Resampling.BICUBIC))
              for plane in (0.5 * image + 0.5).flatten(0, 1).numpy()]
    return (torch.from_numpy(numpy.stack(planes)).view(image.shape[0], 3, size, size) - MEAN) / DEVIATION


def pixels_by_torch(image, size):
    resized = torch.nn.functional.interpolate(image, (size, size), mode="bicubic", antialias=True)
    return (0.5 * resized + 0.5 - MEAN) / DEVIATION


def vision_expected(key, model, config, blocks, sides=((25, 21), (10, 12), (16, 16))):
    body = getattr(model, "vision_model", model)
    size = config.image_size
    pixels = numbers(key + "pixels", 2, 3, size, size).requires_grad_(True)
    out = body(pixels, output_hidden_states=True)
    expected = {"pixels": pixels, "last": out.last_hidden_state, "pooled": out.pooler_output}
    if hasattr(model, "visual_projection"):
        expected["projected"] = model.visual_projection(out.pooler_output)
    for block in blocks:
        tokens = out.hidden_states[block + 1]
        w = numbers(f"{key}tokens.{block}.w", *tokens.shape)
        vjp, = torch.autograd.grad(tokens, pixels, w, retain_graph=True)
        expected |= {f"tokens.{block}": tokens, f"tokens.{block}.w": w, f"tokens.{block}.vjp": vjp}
    for i, (height, width) in enumerate(sides):
        image = images(f"{key}image.{i}", 1 + (i == 0), 3, height, width).requires_grad_(True)
        prepared = pixels_by_torch(image, size)
        tokens = body(prepared, output_hidden_states=True).hidden_states[3][:, 1:]
        matrix = torch.einsum("npi,npj->nij", tokens, tokens)
        w = numbers(f"{key}image.{i}.w", *matrix.shape)
        vjp, = torch.autograd.grad(matrix, image, w)
        f = tokens.detach().numpy()
        expected |= {f"image.{i}": image, f"image.{i}.pixels": pixels_by_pillow(image.detach(), size),
                     f"image.{i}.gram": torch.from_numpy(numpy.stack([a.T @ a for a in f])), f"image.{i}.w": w, f"image.{i}.vjp": vjp}
    return expected


def vision_encoders(root):
    for name, kind, config in [("vision_quick_gelu", CLIPVisionModel, vision_config("quick_gelu")),
                               ("vision_gelu", CLIPVisionModelWithProjection, vision_config("gelu", patch_size=4))]:
        model = randomize(kind(config), name + "/")
        model.save_pretrained(root / name)
        save(root / name / "expected.safetensors", vision_expected(name + "/", model, config, range(4)))
        if hasattr(model, "visual_projection"):
            save(root / name / "openai.safetensors", openai_vision(model))
        state = getattr(model, "vision_model", model).state_dict()
        positions = {"vision_model.embeddings.position_ids": torch.arange(5)[None]}
        save(root / name / "old_keys.safetensors", {f"vision_model.{k}": v for k, v in state.items()} | positions)


def whole_model(root):
    """Both encoders in one file with nested configurations."""
    text, vision = text_config("gelu"), vision_config("gelu", hidden_size=40)
    model = randomize(CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=20)), "whole/")
    model.save_pretrained(root / "whole")
    save(root / "whole" / "text.safetensors", text_expected(model, text, model.text_projection))
    save(root / "whole" / "vision.safetensors", vision_expected("whole/", model, vision, [2], sides=()))


def full_size(root):
    sd1 = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12, num_hidden_layers=12, projection_dim=768)
    sd2 = CLIPTextConfig(hidden_size=1024, intermediate_size=4096, num_attention_heads=16, num_hidden_layers=23, hidden_act="gelu",
                         projection_dim=512)
    for name, config in [("sd1", sd1), ("sd2", sd2)]:
        model = randomize(CLIPTextModel(config), name + "/")
        model.save_pretrained(root / name)
        ids = torch.cat([text_ids(config, 2, 77, pad) for pad in (0, config.vocab_size - 1)])
        save(root / name / "expected.safetensors", {"ids": ids, "last": model(ids).last_hidden_state})
    config = CLIPVisionConfig(patch_size=16)
    model = randomize(CLIPVisionModelWithProjection(config), "vit_b_16/")
    model.save_pretrained(root / "vit_b_16")
    save(root / "vit_b_16" / "expected.safetensors", vision_expected("vit_b_16/", model, config, [2, 11], sides=[(512, 512)]))


if __name__ == "__main__":
    root = folder()
    if sys.argv[2:] == ["full"]:
        full_size(root)
    else:
        tokenizers(root)
        text_encoders(root)
        vision_encoders(root)
        whole_model(root)
