"""The vLLM engine on the CPU build: what it samples, where it stops, and how it fails."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import pytest_asyncio
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.hang import HANG_S
from tests.tiny import engine_config, engine_cores, make_tiny_llama
from tracelift_ray.engines.kinds import build_engine
from tracelift_ray.engines.vllm_extra import converted, wrong_value
from tracelift_ray.errors import ComponentDead, InfrastructureError
from tracelift_ray.training.logprobs import Distribution
from tracelift_ray.training.microbatches import collate
from tracelift_ray.training.output_layer import CompletionScorer
from tracelift_ray.transfer.manifest import WeightManifest
from tracelift_ray.types import Prompt, SamplingParams, TrainSample

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    return make_tiny_llama(tmp_path_factory.mktemp("model"), seed=0, tokenizer="byte", tied=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(path):
    built = build_engine(engine_config("vllm", extra={"max_num_batched_tokens": 4096}), path, seed=1)
    await built.start()
    yield built
    await built.close()


def prompt(length: int, start: int = 0) -> Prompt:
    return Prompt(tuple(10 + (start + 7 * index) % 130 for index in range(length)), "")


async def test_further_arguments_reach_vllm(engine):
    assert engine._llm.vllm_config.scheduler_config.max_num_batched_tokens == 4096


async def test_it_says_how_full_its_cache_was_and_what_it_found_there(engine):
    params = SamplingParams(max_new_tokens=4)
    engine.figures()
    await engine.generate(prompt(300, 5), params)
    first = engine.figures()
    await engine.generate(prompt(300, 5), params)
    second = engine.figures()
    assert 0 < first["kv_cache_percent"] < 100 and first["preemptions"] == 0
    assert first["prefix_cache_hit_percent"] == 0 < second["prefix_cache_hit_percent"] < 100
    assert engine.figures() == {"kv_cache_percent": 0.0, "preemptions": 0.0}


async def test_the_samples_of_a_short_prompt_share_its_blocks(engine):
    engine.figures()
    await engine.generate(prompt(70, 9), SamplingParams(max_new_tokens=4, n=4))
    assert engine.figures()["prefix_cache_hit_percent"] > 50


async def test_values_are_held_to_the_types_that_vllm_declares():
    assert wrong_value({"block_size": 32, "compilation_config": {"cudagraph_capture_sizes": [1, 2]}}) is None
    given = converted({"attention_backend": "FLASH_ATTN", "offload_params": ["gate"], "block_size": "32"})
    assert given["attention_backend"].name == "FLASH_ATTN"
    assert (given["offload_params"], given["block_size"]) == ({"gate"}, 32)
    for name, value, reason in (
        ("block_size", "many", "valid integer"),
        ("compilation_config", {"levl": 3}, "levl: Unexpected keyword argument"),
        ("scheduling_policy", "lifo", "'fcfs' or 'priority'"),
        ("attention_backend", "FLASH_ATN", "did you mean FLASH_ATTN"),
    ):
        wrong = wrong_value({name: value})
        assert wrong is not None and wrong[0] == name and reason in wrong[1] and "\n" not in wrong[1]


async def test_logprobs_match_a_transformers_forward_after_temperature(engine, path):
    model = AutoModelForCausalLM.from_pretrained(path)
    params = SamplingParams(max_new_tokens=20, temperature=0.7, n=3, seed=64, logprobs=True)
    prompts = [prompt(length, length) for length in (1, 33, 150)]
    answers = await asyncio.gather(*(engine.generate(each, params) for each in prompts))
    for each, completions in zip(prompts, answers, strict=True):
        assert len({completion.token_ids for completion in completions}) == 3
        for completion in completions:
            ids = torch.tensor([each.token_ids + completion.token_ids])
            with torch.no_grad():
                logits = model(ids).logits[0, len(each.token_ids) - 1 : -1] / 0.7
            expected = torch.log_softmax(logits, dim=-1).gather(1, ids[0, len(each.token_ids) :, None]).squeeze(1)
            assert (torch.tensor(completion.logprobs) - expected).abs().max() < 1e-4


@pytest.mark.parametrize("cut", [{"top_p": 0.8}, {"top_k": 5}, {"top_p": 0.9, "top_k": 12}], ids=str)
async def test_the_learner_finds_the_logprobs_of_a_cut_distribution(engine, path, cut):
    params = SamplingParams(max_new_tokens=20, temperature=0.7, n=8, seed=64, logprobs=True, **cut)
    prompts = [prompt(length, length) for length in (1, 33, 70)]
    answers = await asyncio.gather(*(engine.generate(each, params) for each in prompts))
    samples = [
        TrainSample(each.token_ids, completion.token_ids, completion.logprobs, 1.0)
        for each, completions in zip(prompts, answers, strict=True)
        for completion in completions
    ]
    cpu = torch.device("cpu")
    batch = collate(samples, [1.0] * len(samples), cpu)
    scorer = CompletionScorer(AutoModelForCausalLM.from_pretrained(path), cpu)
    with torch.no_grad():
        found, whole = (scorer.scores(batch, Distribution(0.7, **each))[0] for each in (cut, {}))
    assert (found - batch.behaviour).abs().max() < 1e-4
    assert (whole - batch.behaviour).abs().mean() > 0.01  # the cut is there to be seen


async def test_seeded_samples_do_not_depend_on_the_company(engine):
    params = [SamplingParams(max_new_tokens=16, n=2, seed=32 * index) for index in range(12)]
    together = await asyncio.gather(*(engine.generate(prompt(20, index), each) for index, each in enumerate(params)))
    alone = [await engine.generate(prompt(20, index), each) for index, each in enumerate(params)]
    assert together == alone


async def test_a_stop_string_ends_the_sample_and_stays_in_ids_and_text(engine, path):
    tokenizer = AutoTokenizer.from_pretrained(path)
    params = SamplingParams(max_new_tokens=60, temperature=0.0)
    (free,) = await engine.generate(prompt(12), params)
    assert free.finish_reason == "length" and len(free.token_ids) == 60
    word = str(tokenizer.decode([free.token_ids[9]]))
    stop = SamplingParams(max_new_tokens=60, temperature=0.0, stop=("never written", word), logprobs=True)
    (stopped,) = await engine.generate(prompt(12), stop)
    end = free.token_ids.index(free.token_ids[9]) + 1
    assert stopped.finish_reason == "stop"
    assert stopped.token_ids == free.token_ids[:end] and len(stopped.logprobs) == end
    assert stopped.text.endswith(word) and stopped.text.strip() == tokenizer.decode(stopped.token_ids)


async def test_both_engines_of_ours_write_the_same_greedy_text(engine, path):
    other = build_engine(engine_config("transformers"), path)
    await other.start()
    params = SamplingParams(max_new_tokens=24, temperature=0.0, logprobs=True, stop=("seven",))
    for length in (3, 40):
        (one,), (two,) = await engine.generate(prompt(length), params), await other.generate(prompt(length), params)
        assert (one.token_ids, one.text, one.finish_reason) == (two.token_ids, two.text, two.finish_reason)
        assert one.logprobs == pytest.approx(two.logprobs, abs=1e-4)
    await other.close()


async def test_a_pattern_cuts_the_samples_and_changes_none(engine):
    free = SamplingParams(max_new_tokens=80, temperature=1.0, n=6, seed=5)
    whole = await engine.generate(prompt(9), free)
    ended = await engine.generate(prompt(9), replace(free, until=r"^[^\n]*\n"))
    texts = [each.text.partition("\n") for each in whole]
    assert [each.text for each in ended] == [line + end for line, end, _ in texts]
    reasons = ["stop" if end else each.finish_reason for each, (_, end, _) in zip(whole, texts, strict=True)]
    assert [each.finish_reason for each in ended] == reasons and {end for _, end, _ in texts} == {"", "\n"}
    for one, two in zip(whole, ended, strict=True):
        assert one.token_ids[: len(two.token_ids)] == two.token_ids
    assert sum(len(each.token_ids) for each in ended) < sum(len(each.token_ids) for each in whole)


async def test_a_prompt_that_does_not_fit_is_bad_input_and_harms_nobody(engine):
    with pytest.raises(ValueError, match="exceed the context of 512"):
        await engine.generate(prompt(500), SamplingParams(max_new_tokens=13))
    (completion,) = await engine.generate(prompt(500), SamplingParams(max_new_tokens=12, temperature=0.0))
    assert completion.token_ids


async def test_a_cancelled_request_is_aborted(engine):
    request = asyncio.create_task(engine.generate(prompt(5), SamplingParams(max_new_tokens=500, temperature=0.0)))
    await until_running(engine)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert engine._llm.get_num_unfinished_requests() == 0


async def test_a_frozen_engine_takes_no_weights(engine):
    with pytest.raises(TypeError, match="frozen"):
        await engine.receive_weights(WeightManifest(1, "shared_memory", (), "", 1, False, 1.0))


async def test_an_engine_that_is_told_to_end_is_lost_with_the_requests_that_it_aborts(path):
    engine = build_engine(engine_config("vllm"), path, seed=1)
    before = engine_cores()
    await engine.start()
    waiting = asyncio.create_task(engine.generate(prompt(5), SamplingParams(max_new_tokens=500, temperature=0.0)))
    await until_running(engine)
    for core in engine_cores() - before:
        core.terminate()
    with pytest.raises(ComponentDead, match="vllm engine"):
        await asyncio.wait_for(waiting, HANG_S)
    await engine.close()


async def test_a_dead_engine_is_an_infrastructure_error_for_waiting_and_new_requests(engine):
    """Runs last: it kills the module's engine."""
    waiting = asyncio.create_task(engine.generate(prompt(5), SamplingParams(max_new_tokens=500, temperature=0.0)))
    await until_running(engine)
    for core in engine_cores():
        core.kill()
    for request in (waiting, engine.generate(prompt(5), SamplingParams(max_new_tokens=4))):
        with pytest.raises(InfrastructureError, match="vllm engine"):
            await asyncio.wait_for(request, HANG_S)


async def until_running(engine) -> None:
    """Wait until the engine holds a request."""
    while not engine._llm.get_num_unfinished_requests():
        await asyncio.sleep(0.001)


async def test_a_directory_without_weights_is_named(tmp_path):
    engine = build_engine(engine_config("vllm"), str(tmp_path))
    with pytest.raises((InfrastructureError, ValueError), match=str(tmp_path)):
        await engine.start()
