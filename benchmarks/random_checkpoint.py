"""random_checkpoint.py FOLDER: a checkpoint of Stable Diffusion 1.5's size with random weights, as diffusers
writes it, for timing whole runs: a pass costs what it costs with the published weights. Needs 4.3 GB of disk."""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/support"))
from oracle import folder, randomize  # noqa: E402

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

out = folder()
down = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
up = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
randomize(UNet2DConditionModel(sample_size=64, down_block_types=down, up_block_types=up, cross_attention_dim=768,
                               attention_head_dim=8)).save_pretrained(out / "unet", max_shard_size="100GB")
randomize(AutoencoderKL(block_out_channels=(128, 256, 512, 512), layers_per_block=2, sample_size=512,
                        down_block_types=("DownEncoderBlock2D",) * 4,
                        up_block_types=("UpDecoderBlock2D",) * 4)).save_pretrained(out / "vae")
randomize(CLIPTextModel(CLIPTextConfig(vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
                                       num_attention_heads=12))).save_pretrained(out / "text_encoder")
DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").save_pretrained(out / "scheduler")
plain = [*range(33, 127), *range(161, 173), *range(174, 256)]  # bytes, as GPT-2's byte-level encoding writes them
words = [chr(b) for b in plain] + [chr(256 + i) for i in range(256 - len(plain))]
ids = {w: i for i, w in enumerate(words + [w + "</w>" for w in words])}
ids |= {"<|startoftext|>": 49406, "<|endoftext|>": 49407}
(out / "tokenizer").mkdir()
(out / "tokenizer/vocab.json").write_text(json.dumps(ids))
(out / "tokenizer/merges.txt").write_text("#version: 0.2\n")
