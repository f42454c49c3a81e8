"""Adapters inside vLLM's workers: taken in by any receiver, and served from memory under one fixed id.

Requests carry that id from their start to their end, so one in flight goes on with the new adapter; the engine empties
its caches before a version comes. Nothing is written to a disk.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

#: Under which vLLM knows the adapter.
ADAPTER_ID = 1


class Taken:
    """Stands for the model while tensors come in, and keeps copies of them."""

    def __init__(self) -> None:
        self.tensors: dict[str, torch.Tensor] = {}

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        for name, tensor in weights:
            self.tensors[name] = tensor.to("cpu", copy=True)


def begin_adapter(workers: Any) -> None:
    """Let requests carry the id before there is an adapter of it."""
    manager = workers._adapter_manager
    _replace(manager, manager.create_dummy_lora(ADAPTER_ID, 1, workers.embedding_modules))


def take_adapter(worker: Any, update: dict[str, Any]) -> None:
    """Replace the adapter of ``worker`` by the one that ``update``, a manifest and the worker's number, describes."""
    engine, taken = worker.weight_transfer_engine, Taken()
    model, engine.model = engine.model, taken
    try:
        engine.update_weights(update)
    finally:
        engine.model = model
    _serve(worker.model_runner.lora_manager, taken.tensors, update["manifest"]["adapter"])


def _serve(workers: Any, tensors: dict[str, torch.Tensor], fields: dict[str, Any]) -> None:
    """Put the adapter in the place of the old one.

    Raises:
        ValueError: a tensor is of no layer that vLLM adapts.
    """
    from vllm.lora.lora_model import LoRAModel
    from vllm.lora.peft_helper import PEFTHelper

    manager = workers._adapter_manager
    mapper = getattr(manager.model, "hf_to_vllm_mapper", None)
    adapter = LoRAModel.from_lora_tensors(
        ADAPTER_ID,
        tensors,
        PEFTHelper.from_dict(fields),
        device="cpu",
        dtype=workers.lora_config.lora_dtype,
        model_vocab_size=workers.vocab_size,
        weights_mapper=None if mapper is None else mapper.get_rename_mapper(),
    )
    unused = sorted(set(adapter.loras) - _served(manager))
    if unused:
        raise ValueError(f"vLLM adapts no layer {unused[0]} of this model ({len(unused)} in all): send merged weights")
    _replace(manager, adapter)


def _replace(manager: Any, adapter: Any) -> None:
    manager.remove_adapter(ADAPTER_ID)
    manager.add_adapter(adapter)
    manager.activate_adapter(ADAPTER_ID)


def _served(manager: Any) -> set[str]:
    """The layers, by their names in a checkpoint, that an adapter can change."""
    names = set()
    for name in manager.modules:
        parent, _, last = name.rpartition(".")
        names |= {f"{parent}.{part}" if parent else part for part in manager.packed_modules_mapping.get(last, [last])}
        names.add(name)
    return names
