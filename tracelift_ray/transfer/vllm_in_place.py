"""Weights that vLLM's CPU layers pack straight from where they arrived.

A layerwise reload copies what arrived into new parameters, and packs these. Where the tensors of a layer lie one behind
the other, as parameters that vLLM fuses do in a file or a bucket, the parameter is already there: it becomes a view of
them, and the copies become copies onto themselves, which torch leaves out. Whether they do lie so is read from the
copies that vLLM's loaders make, so that no order of theirs is assumed; a layer with other copies takes them as ever.

Finding and counting what belongs where takes vLLM's loaders as long as packing does. So what was read from the copies
of a first version is kept, and the layers that it tells of are packed in later ones without the loaders.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import nn

from tracelift_ray.errors import InfrastructureError


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

    def take(self, parameter: torch.Tensor) -> list[torch.Tensor]:
        """What was copied into all of ``parameter``, element for element and in order; nothing where it was not so."""
        made = self._made.pop(_memory(parameter), None)
        if not made or not parameter.is_contiguous() or parameter.storage_offset():
            return []
        made.sort(key=lambda each: each.start)
        sources, end = [each.source for each in made], 0
        for start, source in made:
            if start != end:
                return []
            end += source.numel()
        return sources if end == parameter.numel() and follow(sources) else []


def follow(tensors: Sequence[torch.Tensor]) -> bool:
    """Whether they lie one behind the other in one memory."""
    end = tensors[0].storage_offset()
    for tensor in tensors:
        if _memory(tensor) != _memory(tensors[0]) or tensor.storage_offset() != end or not tensor.is_contiguous():
            return False
        end += tensor.numel()
    return True


@dataclass(eq=False)
class _Direct:
    """A layer that consists of one weight: the tensors called ``names``, one behind the other."""

    layer: Any
    names: tuple[str, ...]
    shape: torch.Size

    def pack(self, parts: Mapping[str, torch.Tensor]) -> None:
        """Do what a layerwise reload does once a layer has all of its weights.

        Raises:
            InfrastructureError: they do not lie as those of the first version did.
        """
        from vllm.model_executor.model_loader.reload.layerwise import _place_kernel_tensors, get_layerwise_info

        tensors = [parts[name] for name in self.names]
        if not follow(tensors) or sum(map(torch.Tensor.numel, tensors)) != self.shape.numel():
            raise InfrastructureError("planner engine worker", f"{self.names[0]} lies otherwise than a version before")
        _lend(self.layer, tensors[0].as_strided(self.shape, (self.shape[1], 1)))
        self.layer.quant_method.process_weights_after_loading(self.layer)
        info = get_layerwise_info(self.layer)
        _place_kernel_tensors(self.layer, info)
        info.reset()


class InPlace:
    """Loads versions of a model's weights in place, and what it learned of the layers while loading the first.

    Args:
        layout: what all of these versions have in common: how their tensors arrive.
    """

    def __init__(self, layout: Any = None) -> None:
        self.layout = layout
        self._direct: dict[str, _Direct] = {}
        self._names: dict[tuple[int, int], str] = {}  # of what comes in, by where it lies

    def load(self, model: Any, tensors: Iterator[tuple[str, torch.Tensor]]) -> None:
        """As ``model.load_weights``, inside a layerwise reload. The tensors must not be written to."""
        with self._watched():
            model.load_weights(self._others(tensors))
        self._names.clear()

    def _others(self, tensors: Iterator[tuple[str, torch.Tensor]]) -> Iterator[tuple[str, torch.Tensor]]:
        """What is for the loaders; the other layers are packed on the way."""
        begun: dict[_Direct, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors:
            direct = self._direct.get(name)
            if direct is None:
                self._names[_place(tensor)] = name
                yield name, tensor
                continue
            begun.setdefault(direct, {})[name] = tensor
            if len(begun[direct]) < len(direct.names):
                continue
            direct.pack(begun.pop(direct))

    @contextmanager
    def _watched(self) -> Iterator[None]:
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
            taken = {name: copies.take(each) for name, each in layer._parameters.items() if each is not None}
            sources = taken.get("weight")
            if sources and _only_reads(layer):
                weight: Any = layer.weight
                self._learn(layer, info, sources)
                _lend(layer, sources[0].as_strided(weight.shape, weight.stride()))
            materialize(layer, info)

        with patch.object(meta, "CopyCounter", Counter), patch.object(layerwise, "materialize_layer", in_place):
            yield

    def _learn(self, layer: Any, info: Any, sources: Sequence[torch.Tensor]) -> None:
        """Keep where the weight of ``layer`` comes from, where the layer is nothing else and keeps nothing of it."""
        names = tuple(self._names.get(_place(each), "") for each in sources)
        parameters, buffers = info.kernel_tensors
        if all(names) and not buffers and {name: each.numel() for name, each in parameters.items()} == {"weight": 0}:
            direct = _Direct(layer, names, layer.weight.shape)
            self._direct.update(dict.fromkeys(names, direct))


def _lend(layer: Any, view: Any) -> None:
    """Let ``view`` be the weight of ``layer`` until it is packed."""
    view.__class__ = layer.weight.__class__
    view.__dict__ = layer.weight.__dict__.copy()
    layer.weight = view


def _only_reads(layer: nn.Module) -> bool:
    """Whether vLLM packs the weight of ``layer`` into memory of its own: writes nothing to it, and lets go of it."""
    from vllm.model_executor.layers.linear import UnquantizedLinearMethod
    from vllm.model_executor.layers.vocab_parallel_embedding import UnquantizedEmbeddingMethod
    from vllm.platforms import current_platform

    method = type(getattr(layer, "quant_method", None))
    return method in (UnquantizedLinearMethod, UnquantizedEmbeddingMethod) and not current_platform.is_zen_cpu()


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _place(tensor: torch.Tensor) -> tuple[int, int]:
    return _memory(tensor), int(tensor.storage_offset())
