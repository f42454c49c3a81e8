"""Full weights, or adapters, out of a DeepSpeed-wrapped model in any ZeRO stage, and into directories.

Promises: names are those of ``named_parameters()`` of the model without adapters (each tied tensor once), in its order
but for the largest, which come last; adapters are merged into copies, one layer at a time; gathering holds one bucket
of full tensors at a time; all ranks must run an iteration to its end together.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tracelift_ray.config.paths import drafted
from tracelift_ray.config.schema import LoraConfig
from tracelift_ray.lora.directory import write_adapter
from tracelift_ray.lora.layers import (
    adapted,
    adapter_parameters,
    base_name,
    is_adapter,
    lora_layers,
    merged_weight,
    peft_fields,
)
from tracelift_ray.training.checkpoint import disk_errors
from tracelift_ray.training.peak import full_numel

#: Files of a model directory that belong to its tokenizer.
_TOKENIZER_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.tiktoken",
    "chat_template*",
)


@dataclass(frozen=True)
class Weight:
    """One tensor as it leaves a model.

    Attributes:
        name: what others call it.
        sources: the parameters that it is made from, the first of its shape; they are whole while it is made.
        value: makes it, detached, on its device and in its dtype. It may be a live weight, and must not be written to.
    """

    name: str
    sources: tuple[nn.Parameter, ...]
    value: Callable[[], torch.Tensor]


def weights_of(model: nn.Module) -> list[Weight]:
    """The full weights of ``model``, adapters merged, the largest last."""
    parameters = list(model.named_parameters())
    if not any(is_adapter(name) for name, _ in parameters):
        return [_as_it_is(name, parameter) for name, parameter in largest_last(parameters)]
    merged = {f"{name}.base_layer.weight": _merged(name, layer) for name, layer in lora_layers(model).items()}
    kept = largest_last((name, parameter) for name, parameter in parameters if not is_adapter(name))
    return [merged.get(name) or _as_it_is(base_name(name), parameter) for name, parameter in kept]


def adapters_of(model: nn.Module) -> list[Weight]:
    """The tensors of the adapters alone."""
    return [_as_it_is(name, parameter) for name, parameter in adapter_parameters(model)]


def _as_it_is(name: str, parameter: nn.Parameter) -> Weight:
    return Weight(name, (parameter,), lambda: parameter.data)


def _merged(name: str, layer: Any) -> Weight:
    own = [parameter for other, parameter in layer.named_parameters() if is_adapter(other)]
    return Weight(f"{name}.weight", (layer.get_base_layer().weight, *own), lambda: merged_weight(layer))


def parameters_of(model: nn.Module) -> list[Weight]:
    """The parameters as training has them: adapters apart from what they adapt, under their own names."""
    return [_as_it_is(name, parameter) for name, parameter in model.named_parameters()]


def gathered(weights: Sequence[Weight], bucket_mib: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Every weight as (name, full tensor).

    Under ZeRO-3 this is a collective that gathers up to ``bucket_mib`` MiB at a time (a larger tensor alone) and every
    rank is given the full tensors.
    """
    if not any(hasattr(source, "ds_id") for weight in weights for source in weight.sources):
        yield from ((weight.name, weight.value()) for weight in weights)
        return
    import deepspeed

    for bucket in _buckets(weights, bucket_mib << 20):
        with deepspeed.zero.GatheredParameters([source for weight in bucket for source in weight.sources]):
            yield from ((weight.name, weight.value()) for weight in bucket)


@contextmanager
def to_the_end(tensors: Iterator[tuple[str, torch.Tensor]]) -> Iterator[Iterator[tuple[str, torch.Tensor]]]:
    """Gather all of ``tensors``, also where their use fails on one rank alone: the others wait for it in there."""
    try:
        yield tensors
    finally:
        for _ in tensors:
            pass


def largest_last(parameters: Iterable[tuple[str, nn.Parameter]]) -> list[tuple[str, nn.Parameter]]:
    """The parameters in their order, but for those of the greatest size, which come last.

    A receiver loads a tensor once all of it is there. It would wait for an embedding that comes first; for one that
    comes last it does not, since by then the sender is ahead.
    """
    named = list(parameters)
    largest = max((full_numel(parameter) for _, parameter in named), default=0)
    return sorted(named, key=lambda each: full_numel(each[1]) == largest)


def _buckets(weights: Sequence[Weight], limit: int) -> Iterator[list[Weight]]:
    """Consecutive weights whose sources have at most ``limit`` bytes in full; a larger one is alone."""
    bucket: list[Weight] = []
    size = 0
    for weight in weights:
        full = sum(full_numel(source) * source.element_size() for source in weight.sources)
        if bucket and size + full > limit:
            yield bucket
            bucket, size = [], 0
        bucket.append(weight)
        size += full
    if bucket:
        yield bucket


def save_pretrained(model: nn.Module, directory: Path, source: str, bucket_mib: int, *, write: bool) -> None:
    """Save the full model and the tokenizer of ``source`` as an ordinary Hugging Face directory.

    All ranks call it together; only the one with ``write`` holds a full copy in memory and writes.
    """
    weights = _copied(weights_of(model), bucket_mib, write)
    if not write:
        return
    directory.mkdir(parents=True, exist_ok=True)
    for alias, original in _tied_names(model):
        weights[alias] = weights[original]
    write_model(model, directory, state_dict=weights)
    copy_tokenizer(Path(source), directory)


def write_model(model: Any, directory: Path, **options: Any) -> None:
    """``model.save_pretrained``, readable by all who may read any other file of this process.

    safetensors writes weights for their owner alone, whatever the umask; ``config.json`` beside them has its mode.
    """
    model.save_pretrained(directory, **options)
    mode = stat.S_IMODE((directory / "config.json").stat().st_mode)
    for path in directory.glob("*.safetensors"):
        path.chmod(mode)


def save_adapter(
    model: nn.Module, directory: Path, source: str, config: LoraConfig, bucket_mib: int, *, write: bool
) -> None:
    """Save the adapters, and the tokenizer of their base model ``source``, as a PEFT directory; all ranks together."""
    tensors = _copied(adapters_of(model), bucket_mib, write)
    if not write:
        return
    write_adapter(directory, tensors, peft_fields(config, adapted(model)), source)
    copy_tokenizer(Path(source), directory)


def _copied(weights: Sequence[Weight], bucket_mib: int, keep: bool) -> dict[str, torch.Tensor]:
    """Copies in the memory of the machine, where they are to be kept; takes part in gathering in any case."""
    return {name: tensor.to("cpu", copy=True) for name, tensor in gathered(weights, bucket_mib) if keep}


def _tied_names(model: nn.Module) -> list[tuple[str, str]]:
    """(alias, first name) of every parameter that appears under more than one name."""
    first: dict[int, str] = {}
    tied = []
    for name, parameter in model.named_parameters(remove_duplicate=False):
        original = first.setdefault(id(parameter), base_name(name))
        if original != base_name(name):
            tied.append((base_name(name), original))
    return tied


@contextmanager
def whole_directory(output: Path) -> Iterator[Path]:
    """A directory to be filled, which is called ``output`` once the block has ended, and removed where it fails.

    Raises:
        CheckpointError: the disk is full.
    """
    draft = drafted(output)
    with disk_errors(output):
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        try:
            yield draft
            os.replace(draft, output)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy a model directory's tokenizer files byte for byte."""
    for pattern in _TOKENIZER_FILES:
        for path in source.glob(pattern):
            shutil.copyfile(path, target / path.name)
