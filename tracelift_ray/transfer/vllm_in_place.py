"""Weights that vLLM's CPU layers pack straight from where they arrived.

A layerwise reload copies what arrived into new parameters, and packs these. Where the tensors of a layer lie one behind
the other, as parameters that vLLM fuses do in a file or a bucket, the parameter is already there: it becomes a view of
them, and the copies become copies onto themselves, which torch leaves out. Whether they do lie so is read from the
copies that vLLM's loaders make, so that no order of theirs is assumed; a layer with other copies takes them as ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import nn


class Copy(NamedTuple):
    """What a loader copies: elements of a parameter from ``start`` on, out of ``source``."""

    start: int
    source: torch.Tensor


class Copies:
    """The copies that loaders make into parameters, by parameter; None where they do anything else to it."""

    def __init__(self) -> None:
        self._made: dict[int, list[Copy] | None] = {}

    def note(self, target: torch.Tensor, source: torch.Tensor) -> None:
        """A copy. One whose elements do not lie as those of its source spoils the parameter."""
        made = self._made.setdefault(_memory(target), [])
        if made is None:
            return
        if target.is_contiguous() and source.is_contiguous() and target.dtype == source.dtype:
            made.append(Copy(int(target.storage_offset()), source))
        else:
            self.spoil(target)

    def spoil(self, target: torch.Tensor) -> None:
        """Something that is no copy."""
        self._made[_memory(target)] = None

    def take(self, parameter: torch.Tensor) -> torch.Tensor | None:
        """A view of what was copied into all of ``parameter``, element for element; None where there is none."""
        made = self._made.pop(_memory(parameter), None)
        if not made or not parameter.is_contiguous() or parameter.storage_offset():
            return None
        made.sort(key=lambda each: each.start)
        first, end = made[0].source, 0
        for start, source in made:
            follows = source.storage_offset() - first.storage_offset() == start == end
            if not follows or _memory(source) != _memory(first):
                return None
            end += source.numel()
        return first.as_strided(parameter.shape, parameter.stride()) if end == parameter.numel() else None


@contextmanager
def loaded_in_place() -> Iterator[None]:
    """Inside, a layerwise reload packs weights where they arrived, if it can. They must not be written to."""
    from vllm.model_executor.model_loader.reload import layerwise, meta

    copies = Copies()
    materialize = layerwise.materialize_layer

    class Counter(meta.CopyCounter):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.ops.aten.copy_.default:
                copies.note(*args[:2])
            elif func._schema.is_mutable and isinstance(args[0], torch.Tensor) and args[0].numel():
                copies.spoil(args[0])
            return super().__torch_dispatch__(func, types, args, kwargs)

    def in_place(layer: nn.Module, info: Any) -> None:
        # Of every parameter, whether it is used or not: a copy that is not taken holds the memory of its source.
        views = {name: copies.take(each) for name, each in layer._parameters.items() if each is not None}
        view: Any = views.get("weight")
        if view is not None and _only_reads(layer):
            view.__class__ = layer.weight.__class__
            view.__dict__ = layer.weight.__dict__.copy()
            layer.weight = view
        materialize(layer, info)

    with patch.object(meta, "CopyCounter", Counter), patch.object(layerwise, "materialize_layer", in_place):
        yield


def _only_reads(layer: nn.Module) -> bool:
    """Whether vLLM packs the weight of ``layer`` into memory of its own: writes nothing to it, and lets go of it."""
    from vllm.model_executor.layers.linear import UnquantizedLinearMethod
    from vllm.model_executor.layers.vocab_parallel_embedding import UnquantizedEmbeddingMethod
    from vllm.platforms import current_platform

    method = type(getattr(layer, "quant_method", None))
    return method in (UnquantizedLinearMethod, UnquantizedEmbeddingMethod) and not current_platform.is_zen_cpu()


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata
