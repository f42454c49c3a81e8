"""Low-rank adapters inside a model: put in, switched off, listed under their names on disk, merged into weights.

The model stays what it was, with some of its layers wrapped; the weights of the base are frozen. Promises: ranks and
engines that put adapters in from one configuration and seed have the same ones; nothing here changes a weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tracelift_ray.errors import DataError

if TYPE_CHECKING:
    from tracelift_ray.config.schema import LoraConfig

#: PEFT's name for an adapter that has none of its own, and what its files put before the names of a model's layers.
_ADAPTER = "default"
_PREFIX = "base_model.model."
_BASE = "base_layer."
_MAGNITUDE = "lora_magnitude_vector"


def peft_fields(config: LoraConfig, targets: Iterable[str]) -> dict[str, Any]:
    """The fields of PEFT's configuration that decide what adapters compute, as plain values.

    Args:
        targets: ends of the names of adapted layers.
    """
    return {
        "r": config.rank,
        "lora_alpha": config.alpha,
        "lora_dropout": config.dropout,
        "target_modules": sorted(targets),
        "use_rslora": config.rslora,
        "use_dora": config.dora,
        "bias": "none",
        "task_type": "CAUSAL_LM",
    }


def add_adapters(model: Any, config: LoraConfig, seed: int) -> None:
    """Put adapters into ``model``, which compute nothing at first, and freeze all else.

    Raises:
        DataError: the model lacks a target module, or has one that cannot be adapted.
    """
    from peft import LoraConfig as PeftConfig
    from peft import inject_adapter_in_model

    check_targets(model, config.target_modules)
    targets = config.target_modules or linear_layers(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            inject_adapter_in_model(PeftConfig(**peft_fields(config, targets)), model, _ADAPTER)
        except ValueError as error:
            raise DataError(f"learner.lora: {' '.join(str(error).split())[:300]}") from error
    for name, layer in lora_layers(model).items():
        if not hasattr(layer.get_base_layer(), "weight"):
            raise DataError(f"learner.lora.target_modules names {name}, whose weights of many experts are one tensor")


def linear_layers(model: Any) -> list[str]:
    """Ends of the names of all linear layers but the output layer."""
    from transformers.pytorch_utils import Conv1D

    output = model.get_output_embeddings()
    linear = (
        name for name, each in model.named_modules() if isinstance(each, nn.Linear | Conv1D) and each is not output
    )
    return sorted({name.rpartition(".")[2] for name in linear})


def adapted(model: nn.Module) -> list[str]:
    """Ends of the names of the layers that have an adapter."""
    return sorted({name.rpartition(".")[2] for name in lora_layers(model)})


def check_targets(model: Any, targets: tuple[str, ...]) -> None:
    """Raise DataError where a target is no layer of ``model``, or the output layer that is also its embedding."""
    from transformers.pytorch_utils import Conv1D

    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Embedding | Conv1D)]
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            known = sorted({name.rpartition(".")[2] for name in names})
            raise DataError(
                f"learner.lora.target_modules names {target}, which is no layer of this model; it has "
                f"{', '.join(known)}"
            )
    tied = model.get_output_embeddings()
    if tied is not None and tied.weight is model.get_input_embeddings().weight:
        for name in names:
            shared = model.get_submodule(name).weight is tied.weight
            if shared and any(name == target or name.endswith(f".{target}") for target in targets):
                raise DataError(
                    f"learner.lora.target_modules names {name}, but this model's embedding and output layer are one "
                    "weight, which an adapter of one of them would part; leave it out"
                )


def lora_layers(model: nn.Module) -> dict[str, Any]:
    """The layers that have an adapter, by name."""
    from peft.tuners.lora import LoraLayer

    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


@contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """Inside the block ``model`` computes what its base does. Not for passes with gradient."""
    layers = list(lora_layers(model).values())
    for layer in layers:
        layer._disable_adapters = True  # not ``enable_adapters``, which parts weights from DeepSpeed's hooks
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False


def is_adapter(name: str) -> bool:
    """Whether a parameter of that name belongs to an adapter."""
    return ".lora_" in f".{name}"


def adapter_parameters(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """The parameters of all adapters, under their names in ``adapter_model.safetensors``."""
    return [(saved_name(name), parameter) for name, parameter in model.named_parameters() if is_adapter(name)]


def saved_name(name: str) -> str:
    """An adapter's parameter in the model, as PEFT's files call it."""
    before, _, after = name.rpartition(f".{_ADAPTER}")
    return _PREFIX + before + ("" if before.endswith(_MAGNITUDE) else after)


def base_name(name: str) -> str:
    """A parameter's name in the model as it was before it got adapters."""
    return name.replace(_BASE, "")


@torch.no_grad()
def merged_weight(layer: Any) -> Tensor:
    """The weight of a layer with its adapter merged, as a new tensor. All of its parameters must be whole."""
    weight = layer.get_base_layer().weight.data
    variant = layer.lora_variant.get(_ADAPTER)
    if variant is None:
        return weight + layer.get_delta_weight(_ADAPTER).to(weight.dtype)
    merged = variant.merge_safe(layer, _ADAPTER, weight.clone())
    layer._caches.clear()  # what PEFT would need to take the adapter out again
    return merged
