"""A weight broadcast through shared memory into a vLLM engine that is generating: invariant 5."""

from __future__ import annotations

import asyncio
import copy
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import torch
from transformers import AutoModelForCausalLM

from tests.hang import HANG_S
from tests.tiny import engine_config, engine_cores, make_tiny_llama
from tracelift_ray.engines.kinds import build_engine
from tracelift_ray.errors import ComponentDead, InfrastructureError, TransferBroken
from tracelift_ray.transfer.ipc import HostMemory
from tracelift_ray.transfer.ipc_sender import IpcSender
from tracelift_ray.transfer.kinds import build_weight_sender
from tracelift_ray.transfer.manifest import Held, Sent, WeightManifest
from tracelift_ray.transfer.object_store import Relay
from tracelift_ray.transfer.senders import SenderSettings, parameter_specs
from tracelift_ray.types import Prompt, SamplingParams

pytestmark = pytest.mark.asyncio(loop_scope="module")
#: Longer than a cache block of the CPU build (128 tokens), so that the prefix cache does hold it.
PROMPT = Prompt(tuple(5 + (7 * index) % 240 for index in range(300)), "")
GREEDY = SamplingParams(max_new_tokens=12, temperature=0.0, logprobs=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory):
    path = make_tiny_llama(tmp_path_factory.mktemp("served"), seed=0, tied=True)
    built = build_engine(engine_config("vllm"), path, transfer="shared_memory")
    await built.start()
    yield built
    await built.close()


@pytest.fixture
def sender():
    built = build_weight_sender("shared_memory", SenderSettings(f"test {os.getpid()}", 1, 60.0))
    yield built
    built.close()
    assert not list(Path("/dev/shm").glob(f"tracelift-test_{os.getpid()}-*"))


def other_model(tmp_path: Path, seed: int):
    return AutoModelForCausalLM.from_pretrained(make_tiny_llama(tmp_path, seed=seed, tied=True)).eval()


def describe(sender, model, version: int, dtype: str = "float32"):
    return sender.describe(parameter_specs(model.named_parameters(), dtype), version)


def forward_logprobs(model, token_ids: tuple[int, ...]) -> torch.Tensor:
    """Log-probs (places, vocabulary) of what follows the prompt at each place of a sample."""
    with torch.no_grad():
        logits = model(torch.tensor([PROMPT.token_ids + token_ids])).logits[0, len(PROMPT.token_ids) - 1 : -1]
    return torch.log_softmax(logits, dim=-1)


async def test_weights_out_of_an_object_store_are_served_under_the_senders_checksum(engine, tmp_path):
    store: list[np.ndarray] = []
    settings = SenderSettings("test", 1, 60.0, put=lambda bucket: store.append(bucket.copy()) or len(store) - 1)
    model, sends = other_model(tmp_path, seed=5), build_weight_sender("object_store", settings)
    manifest = describe(sends, model, version=1)
    sent = sends.send(manifest, model.named_parameters())
    receipt = await Relay(store.__getitem__).deliver(manifest.with_parts(sent.parts), engine.receive_weights)
    assert (receipt.version, receipt.checksum) == (1, sent.checksum)
    (completion,) = await engine.generate(PROMPT, GREEDY)
    assert completion.token_ids == tuple(forward_logprobs(model, completion.token_ids).argmax(dim=-1).tolist())


async def test_after_a_broadcast_exactly_the_new_weights_are_served(engine, sender, tmp_path):
    before = (await engine.generate(PROMPT, GREEDY))[0]  # fills the prefix cache under the old weights
    model = other_model(tmp_path, seed=1)
    manifest = describe(sender, model, version=3)
    sent, receipt = await asyncio.gather(
        asyncio.to_thread(sender.send, manifest, model.named_parameters()), engine.receive_weights(manifest)
    )
    assert (receipt.version, receipt.checksum, set(receipt.workers)) == (3, sent.checksum, {sent.checksum})
    assert engine.version == 3
    after = (await engine.generate(PROMPT, GREEDY))[0]
    expected = forward_logprobs(model, after.token_ids)
    assert after.token_ids == tuple(expected.argmax(dim=-1).tolist()) != before.token_ids
    chosen = expected.gather(1, torch.tensor(after.token_ids).unsqueeze(1)).squeeze(1)
    assert (torch.tensor(after.logprobs) - chosen).abs().max() < 1e-4
    assert (after.oldest_version, after.newest_version) == (3, 3)


async def broadcast(engine, sender, model) -> None:
    """Serve a model's weights under the next version."""
    manifest = describe(sender, model, engine.version + 1)
    sender.send(manifest, model.named_parameters())
    await engine.receive_weights(manifest)
    sender.release(manifest.version)


async def test_a_running_request_goes_on_under_the_new_weights_with_its_cache_recomputed(engine, sender, tmp_path):
    models = [other_model(tmp_path / str(seed), seed=seed) for seed in (1, 2)]
    params = SamplingParams(max_new_tokens=200, temperature=0.0, logprobs=True)
    await broadcast(engine, sender, models[0])
    delay_s, completion = 0.1, None
    ends = time.monotonic() + HANG_S
    while completion is None or completion.oldest_version == completion.newest_version:
        assert time.monotonic() < ends, "no update came between two tokens"
        if completion is not None:  # it had ended before the update, or had not begun
            delay_s *= 0.5 if completion.newest_version < engine.version else 1.5
            models.reverse()
        request = asyncio.create_task(engine.generate(PROMPT, params))
        await asyncio.sleep(delay_s)
        await broadcast(engine, sender, models[1])
        (completion,) = await request
    assert (completion.oldest_version, completion.newest_version) == (engine.version - 1, engine.version)
    # Up to the update, tokens are the old weights'; from then on they are what a forward pass of the new weights over
    # everything gives: nothing old is left.
    by_old, by_new = (agreement(model, completion) for model in models)
    update = by_old.index(False)
    assert update > 0 and all(by_new[update:])


def agreement(model, completion) -> list[bool]:
    """For each token of a completion, whether its log-prob is the model's."""
    expected = forward_logprobs(model, completion.token_ids)
    chosen = expected.gather(1, torch.tensor(completion.token_ids).unsqueeze(1)).squeeze(1)
    return ((torch.tensor(completion.logprobs) - chosen).abs() < 1e-4).tolist()


async def test_an_engine_sleeps_takes_weights_and_wakes_with_what_was_asked_meanwhile(engine, sender, tmp_path):
    """The CPU build frees nothing, but it pauses, drops its caches and keeps account of what is awake."""
    (before,) = await engine.generate(PROMPT, GREEDY)
    await engine.sleep()
    asked = asyncio.create_task(engine.generate(PROMPT, GREEDY))
    assert await engine._llm.is_sleeping()
    model = other_model(tmp_path, seed=8)
    await broadcast(engine, sender, model)
    assert await engine._llm.is_sleeping() and not asked.done()
    await engine.wake()
    (after,) = await asyncio.wait_for(asked, HANG_S)
    assert after.token_ids == tuple(forward_logprobs(model, after.token_ids).argmax(dim=-1).tolist())
    assert after.token_ids != before.token_ids
    assert (after.oldest_version, after.newest_version) == (engine.version, engine.version)


async def test_weights_sent_another_way_are_refused(engine, sender, tmp_path):
    manifest = describe(sender, other_model(tmp_path, seed=1), version=engine.version + 1)
    with pytest.raises(ValueError, match="sent by ipc to an engine built for shared_memory"):
        await engine.receive_weights(replace(manifest, backend="ipc"))


async def test_a_bfloat16_learner_can_feed_a_float32_engine(engine, sender, tmp_path):
    model = other_model(tmp_path, seed=6)
    manifest = describe(sender, model, version=engine.version + 1, dtype="bfloat16")
    sender.send(manifest, model.named_parameters())
    await engine.receive_weights(manifest)
    (completion,) = await engine.generate(PROMPT, GREEDY)
    rounded = model.to(torch.bfloat16).float()
    assert completion.token_ids == tuple(forward_logprobs(rounded, completion.token_ids).argmax(dim=-1).tolist())


async def test_a_change_of_the_version_before_is_served_as_the_whole_would_be(engine, tmp_path):
    changes = build_weight_sender("shared_memory", SenderSettings(f"test {os.getpid()}", 1, 60.0, delta=True))
    model, held = other_model(tmp_path, seed=7).to(torch.bfloat16), None
    specs = parameter_specs(model.named_parameters(), "bfloat16")
    for _ in range(2):
        version = engine.version + 1
        if held is not None:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter[:2] *= -1.5
            changes.encode(specs, version, model.named_parameters(), held)
        manifest = changes.describe(specs, version)
        sent, receipt = await asyncio.gather(
            asyncio.to_thread(changes.send, manifest, model.named_parameters()), engine.receive_weights(manifest)
        )
        assert (receipt.version, receipt.checksum) == (version, sent.checksum) and engine.version == version
        held = Held(receipt.version, receipt.checksum)
        changes.release(version)
        (completion,) = await engine.generate(PROMPT, GREEDY)
        rounded = copy.deepcopy(model).float()
        assert completion.token_ids == tuple(forward_logprobs(rounded, completion.token_ids).argmax(dim=-1).tolist())
    assert manifest.change and manifest.change.base.version == version - 1
    changes.close()


async def test_an_engine_that_takes_buckets_from_shared_buffers_dies_in_the_middle_and_is_noticed_at_once(tmp_path):
    """The path of ``ipc``, over this machine's memory. Deadlines are longer than the test's own limit."""
    path = make_tiny_llama(tmp_path / "served", seed=0, tied=True, hidden=256)
    before = engine_cores()
    dying = build_engine(engine_config("vllm"), path, transfer="ipc")
    await dying.start()
    (core,) = engine_cores() - before
    model = AutoModelForCausalLM.from_pretrained(make_tiny_llama(tmp_path / "sent", seed=1, tied=True, hidden=256))
    sends = IpcSender(SenderSettings(f"test {os.getpid()}", 1, 10 * HANG_S), HostMemory())

    def sending(version: int) -> tuple[WeightManifest, asyncio.Task[Sent]]:
        manifest = sends.describe(parameter_specs(model.named_parameters(), "float32"), version, ("0.0",))
        return manifest, asyncio.create_task(asyncio.to_thread(sends.send, manifest, model.named_parameters()))

    manifest, sent = sending(1)
    receipt = await dying.receive_weights(manifest)
    assert (receipt.version, receipt.checksum) == (1, (await sent).checksum)
    sends.release(1)
    (completion,) = await dying.generate(PROMPT, GREEDY)
    assert completion.token_ids == tuple(forward_logprobs(model, completion.token_ids).argmax(dim=-1).tolist())

    core.suspend()  # so that it has been asked, and has not answered, when it dies
    manifest, sent = sending(2)
    receiving = asyncio.create_task(dying.receive_weights(manifest))
    await asyncio.sleep(1)
    assert not sent.done(), "the model is larger than the two buffers"
    core.kill()
    with pytest.raises(ComponentDead, match="version 2 by ipc did not arrive: EngineDeadError"):
        await asyncio.wait_for(receiving, HANG_S)
    sends.abort()  # as the driver does where an engine is lost
    with pytest.raises(TransferBroken):
        await asyncio.wait_for(sent, HANG_S)
    sends.close()
    await dying.close()


async def test_weights_that_do_not_match_their_checksum_are_never_served(engine, sender, tmp_path):
    """Runs last: it leaves the module's engine unhealthy, as it must."""
    model = other_model(tmp_path, seed=1)
    served = engine.version
    manifest = describe(sender, model, served + 1)
    sender.send(manifest, model.named_parameters())
    with open(manifest.location, "r+b") as file:
        file.write(b"\x00\x01\x02")
    waiting = [asyncio.create_task(engine.generate(PROMPT, SamplingParams(max_new_tokens=200))) for _ in range(8)]
    await asyncio.sleep(0)  # they are asked for
    with pytest.raises(InfrastructureError, match=rf"version {served + 1} by shared_memory .*arrived with checksum"):
        await engine.receive_weights(manifest)
    async with asyncio.timeout(HANG_S):
        answers = await asyncio.gather(*waiting, return_exceptions=True)
    failures = [answer for answer in answers if isinstance(answer, InfrastructureError)]
    assert failures and all("did not arrive" in str(failure) for failure in failures)
    with pytest.raises(InfrastructureError, match="did not arrive"):
        await engine.generate(PROMPT, GREEDY)
    assert engine.version == served
