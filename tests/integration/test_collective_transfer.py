"""Weights over gloo to engines of two kinds, one of them with two workers; broken transfers are sent again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import torch
from transformers import AutoModelForCausalLM

from tests.hang import HANG_S
from tests.tiny import engine_config, make_tiny_llama
from tracelift_ray.engines.kinds import build_engine
from tracelift_ray.transfer.kinds import build_weight_sender
from tracelift_ray.transfer.manifest import WeightManifest
from tracelift_ray.transfer.senders import SenderSettings, parameter_specs
from tracelift_ray.types import Prompt, SamplingParams, TransferBroken

pytestmark = pytest.mark.asyncio(loop_scope="module")
PROMPT = Prompt(tuple(5 + (7 * index) % 240 for index in range(40)), "")
GREEDY = SamplingParams(max_new_tokens=12, temperature=0.0, logprobs=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engines(tmp_path_factory):
    """One of vLLM with two workers, and one without vLLM."""
    path = make_tiny_llama(tmp_path_factory.mktemp("served"), seed=0, tied=True)
    configs = (engine_config("vllm", tensor_parallel_size=2), engine_config("transformers"))
    built = [build_engine(config, path, transfer="collective", seed=index) for index, config in enumerate(configs)]
    for engine in built:
        await engine.start()
    yield built
    for engine in built:
        await engine.close()


def sender_to(workers: int):
    """A sender to engines that have so many workers each."""
    return build_weight_sender("collective", SenderSettings("test", 1, HANG_S, workers, address="127.0.0.1"))


def other_model(path: Path, seed: int):
    return AutoModelForCausalLM.from_pretrained(make_tiny_llama(path, seed=seed, tied=True)).eval()


def likeliest(model, token_ids: tuple[int, ...]) -> tuple[int, ...]:
    with torch.no_grad():
        logits = model(torch.tensor([PROMPT.token_ids + token_ids])).logits[0, len(PROMPT.token_ids) - 1 : -1]
    return tuple(logits.argmax(dim=-1).tolist())


@pytest.mark.parametrize("index", [0, 1], ids=["vllm on two workers", "transformers"])
async def test_new_weights_are_served_and_a_broken_transfer_is_sent_again(engines, tmp_path, index):
    engine, sends = engines[index], sender_to(2 - index)

    def describe(version: int) -> WeightManifest:
        return sends.describe(parameter_specs(model.named_parameters(), "float32"), version, ("0.0",))

    model = other_model(tmp_path / "one", seed=1)
    manifest = describe(1)
    sent, receipt = await asyncio.gather(
        asyncio.to_thread(sends.send, manifest, model.named_parameters()),
        engine.receive_weights(manifest.for_receiver("0.0")),
    )
    assert (receipt.version, receipt.checksum, set(receipt.workers)) == (1, sent.checksum, {sent.checksum})
    assert len(receipt.workers) == 2 - index
    (completion,) = await engine.generate(PROMPT, GREEDY)
    assert completion.token_ids == likeliest(model, completion.token_ids)

    model = other_model(tmp_path / "two", seed=2)
    stuck = threading.Event()

    def half() -> Iterator[tuple[str, torch.Tensor]]:
        """A sender that stops in the middle, as one does that waits for an engine which has died."""
        for place, pair in enumerate(model.named_parameters()):
            if place == 9:
                stuck.wait(HANG_S)
            yield pair

    manifest = describe(2)
    sending = asyncio.create_task(asyncio.to_thread(sends.send, manifest, half()))
    receiving = asyncio.create_task(engine.receive_weights(manifest.for_receiver("0.0")))
    await asyncio.sleep(1.0)
    assert not receiving.done()
    sends.abort()
    stuck.set()
    with pytest.raises(TransferBroken):
        await sending
    with pytest.raises(TransferBroken, match="broke"):
        await asyncio.wait_for(receiving, HANG_S)
    await engine.health()

    manifest = describe(2)
    sent, receipt = await asyncio.gather(
        asyncio.to_thread(sends.send, manifest, model.named_parameters()),
        engine.receive_weights(manifest.for_receiver("0.0")),
    )
    assert (receipt.version, receipt.checksum) == (2, sent.checksum)
    (completion,) = await engine.generate(PROMPT, GREEDY)
    assert completion.token_ids == likeliest(model, completion.token_ids)
    assert (completion.oldest_version, completion.newest_version) == (2, 2)
    sends.close()
