"""A tiny model with adapters that compute something, as the learner has it, and the sending of its weights."""

from __future__ import annotations

import os
from dataclasses import replace

import torch
from transformers import AutoModelForCausalLM

from tests.learner_configs import lora
from tracelift_ray.config.schema import LoraConfig
from tracelift_ray.lora.layers import adapted, add_adapters, is_adapter, peft_fields
from tracelift_ray.training.export import Weight, adapters_of, gathered, weights_of
from tracelift_ray.transfer.kinds import build_weight_sender
from tracelift_ray.transfer.manifest import WeightManifest
from tracelift_ray.transfer.senders import SenderSettings, WeightSender, parameter_specs

LORA = lora(transfer="adapter")


def adapted_model(path: str, config: LoraConfig = LORA, seed: int = 1, spread: float = 0.1) -> torch.nn.Module:
    """The model at ``path`` with adapters whose weights are random."""
    model = AutoModelForCausalLM.from_pretrained(path)
    add_adapters(model, config, seed=0)
    change(model, seed, spread)
    return model.eval()


def change(model: torch.nn.Module, seed: int, spread: float = 0.1) -> None:
    """Give the adapters other weights."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if is_adapter(name) and "magnitude" not in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)


def sender(transfer: str = "shared_memory") -> WeightSender:
    return build_weight_sender(transfer, SenderSettings(f"adapters {os.getpid()}", 1, 30.0))


def describe(sends: WeightSender, model: torch.nn.Module, version: int, config: LoraConfig | None) -> WeightManifest:
    """The manifest of the adapters of ``config``, or without it of the merged weights."""
    specs = parameter_specs(((each.name, each.sources[0]) for each in sent_of(model, config)), "float32")
    manifest = sends.describe(specs, version, ("0.0",))
    return manifest if config is None else replace(manifest, adapter=peft_fields(config, adapted(model)))


def sent_of(model: torch.nn.Module, config: LoraConfig | None) -> list[Weight]:
    return weights_of(model) if config is None else adapters_of(model)


def send(sends: WeightSender, manifest: WeightManifest, model: torch.nn.Module, config: LoraConfig | None) -> str:
    return sends.send(manifest, gathered(sent_of(model, config), 1)).checksum


@torch.no_grad()
def logprobs(model: torch.nn.Module, prompt: tuple[int, ...], completion: tuple[int, ...]) -> torch.Tensor:
    """Of the completion's tokens, at temperature 1."""
    ids = torch.tensor([prompt + completion])
    rows = torch.log_softmax(model(input_ids=ids).logits[0, len(prompt) - 1 : -1], -1)
    return rows[range(len(completion)), list(completion)]
