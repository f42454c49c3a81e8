"""Engines that take new weights and must serve exactly these: what the tests on CPUs and on GPUs have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from tests.tiny import make_tiny_llama
from tracelift_ray.engines.base import Engine
from tracelift_ray.transfer.manifest import Sent, WeightManifest, WeightReceipt
from tracelift_ray.transfer.senders import WeightSender, parameter_specs
from tracelift_ray.types import Prompt, SamplingParams

PROMPT = Prompt(tuple(5 + (7 * index) % 240 for index in range(40)), "")
GREEDY = SamplingParams(max_new_tokens=12, temperature=0.0, logprobs=True)


def model_at(path: Path, seed: int, device: str | torch.device = "cpu", **sizes: Any) -> Any:
    """A tiny model with random weights, saved at ``path`` and loaded."""
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(make_tiny_llama(path, seed=seed, tied=True, **sizes))
    return model.to(device).eval()


def likeliest(model: Any, token_ids: tuple[int, ...]) -> tuple[int, ...]:
    """What ``model`` would have written at each place of a completion of ``PROMPT``."""
    ids = torch.tensor([PROMPT.token_ids + token_ids], device=model.device)
    with torch.no_grad():
        logits = model(ids).logits[0, len(PROMPT.token_ids) - 1 : -1]
    return tuple(logits.argmax(dim=-1).tolist())


def described(sender: WeightSender, model: Any, version: int, names: Iterable[str] = ("0.0",)) -> WeightManifest:
    """The manifest of a model's weights for the engines of these names."""
    return sender.describe(parameter_specs(model.named_parameters(), "float32"), version, tuple(names))


def sending(sender: WeightSender, manifest: WeightManifest, model: Any) -> asyncio.Task[Sent]:
    """A transfer that is under way."""
    return asyncio.create_task(asyncio.to_thread(sender.send, manifest, model.named_parameters()))


async def transferred(engine: Engine, sender: WeightSender, model: Any, version: int) -> WeightReceipt:
    """Send a model's weights to one engine, which says that it has them."""
    manifest = described(sender, model, version)
    under_way = sending(sender, manifest, model)
    receipt = await engine.receive_weights(manifest.for_receiver("0.0"))
    sent = await under_way
    sender.release(version)
    assert (receipt.version, receipt.checksum, set(receipt.workers)) == (version, sent.checksum, {sent.checksum})
    return receipt


async def check_served(engine: Engine, model: Any, version: int) -> None:
    """Assert that the engine writes what the model would, under the version."""
    (completion,) = await engine.generate(PROMPT, GREEDY)
    assert completion.token_ids == likeliest(model, completion.token_ids)
    assert completion.oldest_version == completion.newest_version == version
