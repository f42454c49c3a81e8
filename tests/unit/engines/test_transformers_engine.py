"""The asynchronous side of the transformers engine: its thread, its failures, its weights."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.tiny import engine_config, make_tiny_llama
from tracelift_ray.engines.kinds import build_engine
from tracelift_ray.errors import InfrastructureError, TransferBroken
from tracelift_ray.transfer.kinds import build_weight_sender
from tracelift_ray.transfer.manifest import Held
from tracelift_ray.transfer.senders import SenderSettings, parameter_specs
from tracelift_ray.types import Prompt, SamplingParams

PROMPT = Prompt(tuple(range(10, 30)), "")
GREEDY = SamplingParams(max_new_tokens=8, temperature=0.0)
ENDLESS = SamplingParams(max_new_tokens=480, temperature=0.0)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    return make_tiny_llama(tmp_path_factory.mktemp("model"), seed=0)


@pytest.fixture
async def engine(path):
    built = build_engine(engine_config("transformers"), path, transfer="shared_memory")
    await built.start()
    yield built
    await built.close()


async def test_concurrent_requests_are_answered_in_the_order_of_their_samples(engine):
    params = [SamplingParams(max_new_tokens=3 + index, n=2, seed=32 * index) for index in range(10)]
    together = await asyncio.gather(*(engine.generate(PROMPT, each) for each in params))
    alone = [await engine.generate(PROMPT, each) for each in params]
    assert [len(each) for each in together] == [2] * 10
    assert together == alone


async def test_unseeded_requests_differ(engine):
    params = SamplingParams(max_new_tokens=12)
    (one,), (two,) = await asyncio.gather(engine.generate(PROMPT, params), engine.generate(PROMPT, params))
    assert one.token_ids != two.token_ids


async def test_new_weights_are_served_under_their_version(engine, tmp_path):
    before = (await engine.generate(PROMPT, GREEDY))[0]
    model = AutoModelForCausalLM.from_pretrained(make_tiny_llama(tmp_path, seed=1))
    sender = build_weight_sender("shared_memory", SenderSettings(f"test {os.getpid()}", 1, 10.0))
    manifest = sender.describe(parameter_specs(model.named_parameters(), "float32"), 4)
    running = asyncio.create_task(engine.generate(PROMPT, ENDLESS))
    await asyncio.sleep(0.05)
    checksum = sender.send(manifest, model.named_parameters()).checksum
    receipt = await engine.receive_weights(manifest)
    sender.close()
    after = (await engine.generate(PROMPT, GREEDY))[0]
    assert (receipt.version, receipt.checksum, receipt.workers) == (4, checksum, (checksum,))
    assert engine.version == after.oldest_version == after.newest_version == 4
    assert before.newest_version == 0 and before.token_ids != after.token_ids
    assert (await running)[0].newest_version == 4


async def test_a_change_is_served_as_the_whole_version_would_be_and_one_of_another_version_is_sent_again(engine, path):
    model = AutoModelForCausalLM.from_pretrained(path).to(torch.bfloat16)
    sender = build_weight_sender("shared_memory", SenderSettings(f"test {os.getpid()}", 1, 10.0, delta=True))
    specs = parameter_specs(model.named_parameters(), "bfloat16")
    held = None
    for version in (1, 2, 3):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter[:1] *= 1.5
        if held is not None:
            sender.encode(specs, version, model.named_parameters(), held)
        manifest = sender.describe(specs, version)
        assert (manifest.change is None) == (version == 1)
        checksum = sender.send(manifest, model.named_parameters()).checksum
        if version == 3:
            away = replace(manifest, change=replace(manifest.change, base=replace(held, checksum="0" * 16)))
            with pytest.raises(TransferBroken, match="sent whole"):
                await engine.receive_weights(away)
        receipt = await engine.receive_weights(manifest)
        assert (receipt.version, receipt.checksum, engine.version) == (version, checksum, version)
        held = Held(receipt.version, receipt.checksum)
        sender.release(version)
    after = (await engine.generate(PROMPT, GREEDY))[0]
    with torch.no_grad():
        ids = torch.tensor([PROMPT.token_ids + after.token_ids])
        best = model.float()(ids).logits[0, len(PROMPT.token_ids) - 1 : -1].argmax(dim=-1)
    assert after.token_ids == tuple(best.tolist())
    sender.close()


async def test_a_frozen_engine_takes_no_weights(path):
    engine = build_engine(engine_config("transformers"), path)
    sender = build_weight_sender("shared_memory", SenderSettings(f"test {os.getpid()}", 1, 1.0))
    with pytest.raises(TypeError, match="frozen"):
        await engine.receive_weights(sender.describe((), 1))
    sender.close()


async def test_a_transfer_that_does_not_match_leaves_the_old_weights_served(engine, path):
    model = AutoModelForCausalLM.from_pretrained(path)
    sender = build_weight_sender("shared_memory", SenderSettings(f"test {os.getpid()}", 1, 10.0))
    manifest = sender.describe(parameter_specs(model.named_parameters(), "float32"), 4)
    before = await engine.generate(PROMPT, GREEDY)
    sender.send(manifest, model.named_parameters())
    with open(manifest.location, "r+b") as file:
        file.write(b"\xff\xff")
    with pytest.raises(InfrastructureError, match="arrived with checksum"):
        await engine.receive_weights(manifest)
    sender.close()
    assert engine.version == 0 and await engine.generate(PROMPT, GREEDY) == before


async def test_weights_of_another_model_end_the_engine(engine, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(make_tiny_llama(tmp_path, seed=0, layers=1))
    sender = build_weight_sender("shared_memory", SenderSettings(f"test {os.getpid()}", 1, 10.0))
    manifest = sender.describe(parameter_specs(model.named_parameters(), "float32"), 4)
    sender.send(manifest, model.named_parameters())
    with pytest.raises(InfrastructureError, match="no weights came for"):
        await engine.receive_weights(manifest)
    sender.close()
    with pytest.raises(InfrastructureError, match="no weights came for"):
        await engine.generate(PROMPT, GREEDY)


async def test_cancelling_a_request_frees_its_place(engine):
    request = asyncio.create_task(engine.generate(PROMPT, ENDLESS))
    await asyncio.sleep(0.02)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert len((await engine.generate(PROMPT, GREEDY))[0].token_ids) == 8


async def test_closing_answers_those_who_wait(path):
    engine = build_engine(engine_config("transformers"), path)
    await engine.start()
    waiting = asyncio.create_task(engine.generate(PROMPT, ENDLESS))
    await asyncio.sleep(0.02)
    await engine.close()
    with pytest.raises(InfrastructureError, match="closed"):
        await waiting
    with pytest.raises(InfrastructureError, match="closed"):
        await engine.generate(PROMPT, GREEDY)
    await engine.close()


async def test_a_directory_without_a_model_is_named(tmp_path):
    engine = build_engine(engine_config("transformers"), str(tmp_path))
    with pytest.raises(InfrastructureError, match=str(tmp_path)):
        await engine.start()


async def test_a_request_before_start_is_refused(path):
    engine = build_engine(engine_config("transformers"), path)
    with pytest.raises(InfrastructureError, match="not running"):
        await engine.generate(PROMPT, GREEDY)
