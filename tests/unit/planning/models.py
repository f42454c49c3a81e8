"""Directories that hold a checkpoint of a given shape for all that reads no weights: files of a header and a hole."""

from __future__ import annotations

import json
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Shape:
    """The sizes of a Llama-like model; named ones are those of published models."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool = False

    def tensors(self) -> dict[str, list[int]]:
        """Name and shape of every weight."""
        keys = self.hidden // self.heads * self.kv_heads
        found = {"model.embed_tokens.weight": [self.vocabulary, self.hidden], "model.norm.weight": [self.hidden]}
        if not self.tied:
            found["lm_head.weight"] = [self.vocabulary, self.hidden]
        for layer in range(self.layers):
            for name, shape in (
                ("self_attn.q_proj", [self.hidden, self.hidden]),
                ("self_attn.k_proj", [keys, self.hidden]),
                ("self_attn.v_proj", [keys, self.hidden]),
                ("self_attn.o_proj", [self.hidden, self.hidden]),
                ("mlp.gate_proj", [self.intermediate, self.hidden]),
                ("mlp.up_proj", [self.intermediate, self.hidden]),
                ("mlp.down_proj", [self.hidden, self.intermediate]),
                ("input_layernorm", [self.hidden]),
                ("post_attention_layernorm", [self.hidden]),
            ):
                found[f"model.layers.{layer}.{name}.weight"] = shape
        return found


BYTES = {"F32": 4, "BF16": 2}
QWEN_0_5B = Shape(24, 896, 4864, 14, 2, 151936, tied=True)
QWEN_1_5B = Shape(28, 1536, 8960, 12, 2, 151936, tied=True)
QWEN_7B = Shape(28, 3584, 18944, 28, 4, 152064)
LLAMA_8B = Shape(32, 4096, 14336, 32, 8, 128256)
LLAMA_70B = Shape(80, 8192, 28672, 64, 8, 128256)
#: Planner, executor and scorer that a preset is for, and the cluster of ``docs/clusters/`` that it fits.
FITTING = {
    "one_gpu_24g": ((QWEN_0_5B, QWEN_1_5B, QWEN_0_5B), "one_24g"),
    "one_gpu_80g": ((QWEN_1_5B, QWEN_7B, QWEN_1_5B), "one_80g"),
    "gpu_1x8": ((QWEN_7B,) * 3, "1x8_80g"),
    "gpu_2x8": ((QWEN_7B,) * 3, "2x8_80g"),
    "gpu_4x8_70b": ((LLAMA_8B, LLAMA_70B, LLAMA_70B), "4x8_80g"),
    "paper_math": ((QWEN_7B,) * 3, "1x8_80g"),
    "paper_code": ((QWEN_7B,) * 3, "1x8_80g"),
}


def make_checkpoint(directory: Path, shape: Shape, dtype: str = "BF16") -> str:
    """Config, tokenizer, index and two shards. Any of the run's models: it generates, and it scores."""
    directory.mkdir(parents=True)
    config = {
        "architectures": ["LlamaForReasonRewardModel"],
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "vocab_size": shape.vocabulary,
        "tie_word_embeddings": shape.tied,
    }
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "tokenizer.json").write_text("{}")
    (directory / "chat_template.jinja").write_text("{{ messages }}")
    names = list(shape.tensors())
    halves = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, chosen in halves.items():
        _write_shard(directory / file, {name: shape.tensors()[name] for name in chosen}, dtype)
    index = {"metadata": {}, "weight_map": {name: file for file, chosen in halves.items() for name in chosen}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    return str(directory)


def _write_shard(path: Path, tensors: dict[str, list[int]], dtype: str) -> None:
    """A whole safetensors file whose data is a hole of the right size."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, sizes in tensors.items():
        start, end = end, end + math.prod(sizes) * BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": sizes, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    os.truncate(path, 8 + len(text) + end)
