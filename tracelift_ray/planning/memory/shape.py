"""The shape of a language model, read from its ``config.json`` and the headers of its weights without loading any.

Promises: parameters are counted as they are trained, a tied output layer once; files that lie beside a checkpoint's own
(another form of the same weights) do not count.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

_INDEX = "model.safetensors.index.json"
_ITEMS = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1}
_NAMED = {"float32": 4, "bfloat16": 2, "float16": 2}
_OUTPUT = "lm_head.weight"
#: With these a model changes its logits after the output layer, so the learner cannot make them in chunks.
_CHANGES_LOGITS = ("final_logit_softcapping", "logits_scaling", "logit_scale")


class ShapeError(ValueError):
    """A model's shape cannot be read; the message says why."""


@dataclass(frozen=True)
class ModelShape:
    """What memory depends on.

    Attributes:
        parameters: in all, and ``largest``: of the largest tensor.
        head: width of one head; ``query``, ``keys``: of all heads of queries, and of keys (as of values).
        tied: the output layer has the embedding's weights.
        itemsize: bytes of an element in the checkpoint.
        gated: the MLP multiplies two projections.
        head_norms: queries and keys are normalised head by head.
        chunked: the learner can make logits chunk by chunk.
    """

    parameters: int
    largest: int
    layers: int
    hidden: int
    intermediate: int
    head: int
    query: int
    keys: int
    vocabulary: int
    tied: bool
    itemsize: int
    gated: bool = True
    head_norms: bool = False
    chunked: bool = True


@lru_cache
def read_shape(directory: str) -> ModelShape:
    """The shape of the model in ``directory``. Raises ``ShapeError``."""
    path = Path(directory)
    try:
        config = json.loads((path / "config.json").read_text("utf-8"))
        config = config.get("text_config", config)
        tensors = _tensors(path)
    except (OSError, ValueError, AttributeError, struct.error) as error:
        raise ShapeError(f"{directory}: {' '.join(str(error).split())}") from None
    if any(config.get(key) for key in ("num_local_experts", "num_experts", "n_routed_experts")):
        raise ShapeError(f"{directory}: a mixture of experts is not planned for")
    tied = config.get("tie_word_embeddings") or not any(name.endswith(_OUTPUT) for name in tensors)
    sizes = [math.prod(shape) for name, (_, shape) in tensors.items() if not (tied and name.endswith(_OUTPUT))]
    if not sizes or max(sizes) == 0:
        raise ShapeError(f"{directory}: no tensors in *.safetensors")
    hidden, heads = _number(config, "hidden_size", "n_embd"), _number(config, "num_attention_heads", "n_head")
    width = config.get("head_dim") or hidden // heads
    return ModelShape(
        parameters=sum(sizes),
        largest=max(sizes),
        layers=_number(config, "num_hidden_layers", "n_layer"),
        hidden=hidden,
        intermediate=config.get("intermediate_size") or config.get("n_inner") or 4 * hidden,
        head=width,
        query=heads * width,
        keys=(config.get("num_key_value_heads") or heads) * width,
        vocabulary=_number(config, "vocab_size"),
        tied=bool(tied),
        itemsize=max(_ITEMS.get(kind, 4) for kind, _ in tensors.values()),
        gated=any("gate" in name for name in tensors),
        head_norms=any(name.endswith("q_norm.weight") for name in tensors),
        chunked=not any(config.get(key) not in (None, 1, 1.0) for key in _CHANGES_LOGITS),
    )


def itemsize(dtype: str, shape: ModelShape) -> int:
    """Bytes of an element where a model is held in ``dtype``; auto: as in its checkpoint."""
    return _NAMED.get(dtype, shape.itemsize)


def _tensors(path: Path) -> dict[str, tuple[str, Sequence[int]]]:
    """Type and shape of every tensor, by name, from the headers of the checkpoint's files."""
    if (path / _INDEX).is_file():
        files = sorted(set(json.loads((path / _INDEX).read_text("utf-8"))["weight_map"].values()))
    elif (path / "model.safetensors").is_file():
        files = ["model.safetensors"]
    else:
        files = sorted(file.name for file in path.glob("*.safetensors"))
    tensors: dict[str, tuple[str, Sequence[int]]] = {}
    for name in files:
        tensors |= {key: (entry["dtype"], entry["shape"]) for key, entry in _header(path / name).items()}
    return tensors


def _header(file: Path) -> Mapping[str, Any]:
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        if length > file.stat().st_size:
            raise ValueError(f"{file.name} is no safetensors file")
        header = json.loads(opened.read(length))
    header.pop("__metadata__", None)
    return header


def _number(config: Mapping[str, Any], *names: str) -> int:
    found = next((config[name] for name in names if isinstance(config.get(name), int)), 0)
    if found < 1:
        raise ShapeError(f"config.json does not say {names[0]}")
    return found
