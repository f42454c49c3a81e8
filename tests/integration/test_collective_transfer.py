"""Weights over gloo to engines of two kinds, one of them with two workers; broken transfers are sent again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
import pytest_asyncio
import torch

from tests.hang import HANG_S
from tests.serving import check_served, described, model_at, transferred
from tests.tiny import engine_config, make_tiny_llama
from tracelift_ray.engines.kinds import build_engine
from tracelift_ray.errors import TransferBroken
from tracelift_ray.transfer.kinds import build_weight_sender
from tracelift_ray.transfer.senders import SenderSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")


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


@pytest.mark.parametrize("index", [0, 1], ids=["vllm on two workers", "transformers"])
async def test_new_weights_are_served_and_a_broken_transfer_is_sent_again(engines, tmp_path, index):
    engine, workers = engines[index], 2 - index
    sends = build_weight_sender("collective", SenderSettings("test", 1, HANG_S, workers, address="127.0.0.1"))
    model = model_at(tmp_path / "one", seed=1)
    assert len((await transferred(engine, sends, model, 1)).workers) == workers
    await check_served(engine, model, 1)

    model = model_at(tmp_path / "two", seed=2)
    stuck = threading.Event()

    def half() -> Iterator[tuple[str, torch.Tensor]]:
        """A sender that stops in the middle, as one does that waits for an engine which has died."""
        for place, pair in enumerate(model.named_parameters()):
            if place == 9:
                stuck.wait(HANG_S)
            yield pair

    manifest = described(sends, model, 2)
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

    await transferred(engine, sends, model, 2)
    await check_served(engine, model, 2)
    sends.close()
