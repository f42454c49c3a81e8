"""What of a reward model is trained, and how a model is made whole again from what was trained.

With LoRA the backbone's own weights are frozen, and small adapters in its upper layers and the heads are trained; the
adapters are merged into the backbone when the model is saved, so that a saved model is an ordinary one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.reasoning_rm.model.reward_model import ReasoningRewardModel
from tracelift_ray.reasoning_rm.training.settings import LoraSettings, TrainRmConfig

_LAYER_NUMBER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


def new_model(config: TrainRmConfig, names: tuple[str, ...]) -> ReasoningRewardModel:
    """The reward model with new heads that a training run starts from, in float32 on the CPU."""
    return ReasoningRewardModel.from_backbone(
        config.model,
        dimension_names=names,
        dropout=config.dropout,
        show_problem=config.show_problem,
    )


def add_adapters(model: ReasoningRewardModel, lora: LoraSettings) -> Any:
    """Puts LoRA adapters into linear layers of the backbone and freezes its other weights; the heads stay trained.

    Returns:
        The wrapper that merges the adapters (``merge_and_unload``); ``model`` itself has the adapters in it.
    Raises:
        ConfigError: the backbone has no linear layers to adapt, or fewer layers than ``lora.layers``.
    """
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=_adapted(model.model, lora),
    )
    wrapped = get_peft_model(model, settings)
    for name, parameter in model.named_parameters():
        if not name.startswith("model."):
            parameter.requires_grad_(True)
    return wrapped


def _adapted(backbone: nn.Module, lora: LoraSettings) -> list[str]:
    """The full names of the linear layers that get an adapter."""
    linear = [name for name, module in backbone.named_modules() if isinstance(module, nn.Linear)]
    if lora.layers:
        numbers = {name: int(match[1]) for name in linear if (match := _LAYER_NUMBER.search(name))}
        count = max(numbers.values(), default=-1) + 1
        if lora.layers > count:
            raise ConfigError("lora.layers", lora.layers, f"must be at most {count}, the layers of the backbone")
        linear = [name for name, number in numbers.items() if number >= count - lora.layers]
    if not linear:
        raise ConfigError("lora.rank", lora.rank, "must be 0: the backbone has no linear layers to adapt")
    return [f"model.{name}" for name in linear]


def trained_tensors(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training changes, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def whole_model(config: TrainRmConfig, names: tuple[str, ...], trained: Mapping[str, Tensor]) -> ReasoningRewardModel:
    """The model whose ``trained_tensors`` have the given values, without adapters, in the type of ``save_dtype``."""
    model = new_model(config, names)
    wrapped = add_adapters(model, config.lora) if config.lora.rank else None
    with torch.no_grad():
        for name, parameter in trained_tensors(model).items():
            parameter.copy_(trained[name])
    whole: Any = model if wrapped is None else wrapped.merge_and_unload()
    return whole.to(getattr(torch, config.save_dtype)).eval()


def make_optimizer(model: nn.Module, config: TrainRmConfig) -> torch.optim.AdamW:
    """AdamW with ``lr`` for the backbone, ``head_lr`` for what is new, weight decay on matrices only."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in trained_tensors(model).items():
        groups.setdefault((name.startswith("model."), parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": config.lr if backbone else config.head_lr,
                "weight_decay": config.weight_decay if matrix else 0.0,
            }
            for (backbone, matrix), parameters in groups.items()
        ]
    )
