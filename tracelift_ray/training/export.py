"""Full weights out of a DeepSpeed-wrapped model in any ZeRO stage, and into a Hugging Face directory.

Promises: names are those of ``module.named_parameters()`` (Hugging Face names, each tied tensor once), in its order but
for the largest, which come last; gathering holds one bucket of full tensors at a time; all ranks must run the iteration
to its end together.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tracelift_ray.training.checkpoint import disk_errors

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


def named_tensors(model: torch.nn.Module, bucket_mib: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Every parameter as (name, full tensor), detached, on its device and in its dtype.

    Under ZeRO-3 this is a collective that gathers up to ``bucket_mib`` MiB at a time (a larger tensor alone) and every
    rank is given the full tensors. The tensors are the live weights: they must not be written to.
    """
    parameters = largest_last(model.named_parameters())
    if not any(hasattr(parameter, "ds_id") for _, parameter in parameters):
        yield from ((name, parameter.detach()) for name, parameter in parameters)
        return
    import deepspeed

    for bucket in _buckets(parameters, bucket_mib << 20):
        with deepspeed.zero.GatheredParameters([parameter for _, parameter in bucket]):
            yield from ((name, parameter.data) for name, parameter in bucket)


def largest_last(parameters: Iterable[tuple[str, torch.nn.Parameter]]) -> list[tuple[str, torch.nn.Parameter]]:
    """The parameters in their order, but for those of the greatest size, which come last.

    A receiver loads a tensor once all of it is there. It would wait for an embedding that comes first; for one that
    comes last it does not, since by then the sender is ahead.
    """
    named = list(parameters)
    largest = max((_full_numel(parameter) for _, parameter in named), default=0)
    return sorted(named, key=lambda each: _full_numel(each[1]) == largest)


def _full_numel(parameter: torch.nn.Parameter) -> int:
    return getattr(parameter, "ds_numel", parameter.numel())


def _buckets(
    parameters: list[tuple[str, torch.nn.Parameter]], limit: int
) -> Iterator[list[tuple[str, torch.nn.Parameter]]]:
    """Consecutive parameters of at most ``limit`` bytes in full; a larger one is alone."""
    bucket: list[tuple[str, torch.nn.Parameter]] = []
    size = 0
    for name, parameter in parameters:
        full = _full_numel(parameter) * parameter.element_size()
        if bucket and size + full > limit:
            yield bucket
            bucket, size = [], 0
        bucket.append((name, parameter))
        size += full
    if bucket:
        yield bucket


def save_pretrained(model: torch.nn.Module, directory: Path, source: str, bucket_mib: int, *, write: bool) -> None:
    """Save the full model and the tokenizer of ``source`` as an ordinary Hugging Face directory.

    All ranks call it together; only the one with ``write`` holds a full copy in memory and writes.
    """
    weights: dict[str, torch.Tensor] = {}
    for name, tensor in named_tensors(model, bucket_mib):
        if write:
            weights[name] = tensor.detach().to("cpu", copy=True)
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


def _tied_names(model: torch.nn.Module) -> list[tuple[str, str]]:
    """(alias, first name) of every parameter that appears under more than one name."""
    first: dict[int, str] = {}
    tied = []
    for name, parameter in model.named_parameters(remove_duplicate=False):
        original = first.setdefault(id(parameter), name)
        if original != name:
            tied.append((name, original))
    return tied


@contextmanager
def whole_directory(output: Path) -> Iterator[Path]:
    """A directory to be filled, which is called ``output`` once the block has ended, and removed where it fails.

    Raises:
        CheckpointError: the disk is full.
    """
    draft = output.with_name(f".tmp-{output.name}")
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
