"""Continuous batching: what a request gets is what it would get alone, and what the model gives without a cache."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.tiny import make_tiny_llama
from tracelift_ray.engines import batch_decoder
from tracelift_ray.engines.batch_decoder import BatchDecoder, Request
from tracelift_ray.types import Completion, SamplingParams


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    return make_tiny_llama(tmp_path_factory.mktemp("model"), seed=0)


@pytest.fixture(scope="module")
def other_model(tmp_path_factory):
    return load(make_tiny_llama(tmp_path_factory.mktemp("other"), seed=1))


@pytest.fixture(scope="module")
def model(path):
    return load(path)


@pytest.fixture
def decoder(path) -> BatchDecoder:
    return make_decoder(path)


def load(path: str):
    return AutoModelForCausalLM.from_pretrained(path).eval()


def make_decoder(path: str, max_rows: int = 512) -> BatchDecoder:
    return BatchDecoder(load(path), AutoTokenizer.from_pretrained(path), max_rows)


def prompt(length: int, start: int = 0) -> tuple[int, ...]:
    return tuple(5 + (start + 11 * index) % 240 for index in range(length))


def run(decoder: BatchDecoder, *requests: Request) -> list[list[Completion]]:
    decoder.add(requests)
    done = []
    while decoder.busy:
        done += decoder.step()
    assert sorted(map(id, done)) == sorted(id(each) for each in requests if not each.cancelled)
    return [[request.finished[index] for index in sorted(request.finished)] for request in requests]


def greedy(prompt_ids: tuple[int, ...], tokens: int = 24, **more) -> Request:
    return Request(prompt_ids, SamplingParams(max_new_tokens=tokens, temperature=0.0, logprobs=True, **more), None)


def sampled(prompt_ids: tuple[int, ...], seed: int, tokens: int = 12, n: int = 3) -> Request:
    return Request(
        prompt_ids, SamplingParams(max_new_tokens=tokens, temperature=0.8, n=n, seed=seed, logprobs=True), None
    )


def tokens(answers: list[list[Completion]]) -> list[list[tuple[int, ...]]]:
    return [[completion.token_ids for completion in answer] for answer in answers]


def likeliest(model, prompt_ids: tuple[int, ...], token_ids: tuple[int, ...]) -> tuple[int, ...]:
    """What the model, without a cache, finds likeliest at each place of a sample; a greedy sample is just that."""
    with torch.no_grad():
        logits = model(torch.tensor([prompt_ids + token_ids])).logits[0, len(prompt_ids) - 1 : -1]
    return tuple(logits.argmax(dim=-1).tolist())


def forward_logprobs(
    model, prompt_ids: tuple[int, ...], token_ids: tuple[int, ...], temperature: float
) -> torch.Tensor:
    with torch.no_grad():
        logits = model(torch.tensor([prompt_ids + token_ids])).logits[0, len(prompt_ids) - 1 : -1] / temperature
    return torch.log_softmax(logits, dim=-1).gather(1, torch.tensor(token_ids).unsqueeze(1)).squeeze(1)


def test_greedy_rows_of_unequal_length_are_what_the_model_finds_likeliest(decoder, model):
    requests = [greedy(prompt(length, length)) for length in (1, 3, 17, 64, 200)]
    for request, (completion,) in zip(requests, run(decoder, *requests), strict=True):
        assert completion.token_ids == likeliest(model, request.prompt_ids, completion.token_ids)
        assert len(completion.token_ids) == 24


def test_logprobs_are_those_of_a_forward_pass_after_temperature(decoder, model):
    requests = [sampled(prompt(length, length), seed=32 * length) for length in (2, 30, 90)]
    for request, completions in zip(requests, run(decoder, *requests), strict=True):
        for completion in completions:
            expected = forward_logprobs(model, request.prompt_ids, completion.token_ids, 0.8)
            assert completion.logprobs is not None
            assert (torch.tensor(completion.logprobs) - expected).abs().max() < 1e-4


def test_samples_do_not_depend_on_the_company_or_the_moment_of_joining(path):
    requests = [sampled(prompt(5 + 7 * index, index), seed=32 * index, tokens=6 + index) for index in range(12)]
    together = run(make_decoder(path), *requests)
    few_rows = run(make_decoder(path, max_rows=7), *(Request(each.prompt_ids, each.params, None) for each in requests))
    staggered = make_decoder(path)
    again = [Request(each.prompt_ids, each.params, None) for each in reversed(requests)]
    for request in again:
        staggered.add([request])
        staggered.step()
    while staggered.busy:
        staggered.step()
    late = [[each.finished[index] for index in range(each.params.n)] for each in reversed(again)]
    assert tokens(together) == tokens(few_rows) == tokens(late)


def test_samples_of_a_request_differ_and_their_number_does_not_change_them(decoder):
    (three,) = run(decoder, sampled(prompt(9), seed=64, n=3))
    (two,) = run(decoder, sampled(prompt(9), seed=64, n=2))
    assert len({each.token_ids for each in three}) == 3
    assert tokens([two]) == tokens([three[:2]])


def test_equal_prompts_are_prefilled_once(decoder, monkeypatch):
    shapes = []
    forward = decoder._model.forward

    def counted(**inputs):
        shapes.append(tuple(inputs["input_ids"].shape))
        return forward(**inputs)

    monkeypatch.setattr(decoder._model, "forward", counted)
    run(decoder, *(sampled(prompt(40), seed=32 * index, tokens=2, n=4) for index in range(5)))
    assert shapes == [(1, 40), (20, 1)]


def test_a_limit_and_a_stop_are_told_apart(decoder):
    long = run(decoder, greedy(prompt(8), 20))[0][0].token_ids
    (cut,), (stopped,) = run(decoder, greedy(prompt(8), 10), greedy(prompt(8), 20, stop=(chr_of(decoder, long[5]),)))
    assert cut.finish_reason == "length" and cut.token_ids == long[:10]
    assert stopped.finish_reason == "stop" and stopped.token_ids == long[: long.index(long[5]) + 1]
    assert stopped.text.endswith(chr_of(decoder, long[5]))


def chr_of(decoder: BatchDecoder, token: int) -> str:
    return decoder._tokenizer.decode([token])


def test_the_end_of_text_token_is_emitted_but_not_shown(path, decoder):
    third = run(decoder, greedy(prompt(8), 3))[0][0].token_ids[2]
    ending = load(path)
    with torch.no_grad():  # whatever makes the third token likely makes <eos> likelier still
        ending.lm_head.weight[2] = 1.1 * ending.lm_head.weight[third]
    (completion,) = run(BatchDecoder(ending, AutoTokenizer.from_pretrained(path), 8), greedy(prompt(8), 20))[0]
    assert completion.token_ids[-1] == 2 and len(completion.token_ids) <= 3
    assert completion.finish_reason == "stop" and "<eos>" not in completion.text


def test_new_weights_go_on_with_running_requests_and_recompute_their_cache(decoder, model, other_model):
    long, new = greedy(prompt(20), 30), greedy(prompt(20), 10)
    decoder.add([long])
    for _ in range(10):
        decoder.step()
    decoder.load(other_model.named_parameters(), version=7)
    (mixed,), (fresh,) = finish(decoder, long), run(decoder, new)[0]
    old, later = (likeliest(each, prompt(20), mixed.token_ids) for each in (model, other_model))
    written = next(index for index in range(30) if mixed.token_ids[index] != old[index])
    assert written == 11  # the first token comes with the first step's prefill, then one a step
    assert mixed.token_ids == old[:11] + later[11:]
    assert (mixed.oldest_version, mixed.newest_version) == (0, 7)
    assert fresh.token_ids == likeliest(other_model, prompt(20), fresh.token_ids)
    assert (fresh.oldest_version, fresh.newest_version) == (7, 7)


def finish(decoder: BatchDecoder, request: Request) -> list[Completion]:
    while decoder.busy:
        decoder.step()
    return [request.finished[index] for index in range(request.params.n)]


def test_weights_of_another_model_are_refused(decoder, other_model):
    parameters = list(other_model.named_parameters())
    with pytest.raises(ValueError, match=r"no weights came for lm_head\.weight"):
        decoder.load(parameters[:-1], version=1)
    with pytest.raises(ValueError, match=r"no parameter lm_head\.weight of shape \[3\]"):
        decoder.load([("lm_head.weight", torch.zeros(3))], version=1)


def test_a_cancelled_request_leaves_the_batch(decoder):
    stay, leave, waiting = greedy(prompt(5), 12), greedy(prompt(6), 400), greedy(prompt(7), 5)
    decoder.add([stay, leave])
    decoder.step()
    leave.cancelled = waiting.cancelled = True
    decoder.add([waiting])
    steps = 0
    while decoder.busy:
        decoder.step()
        steps += 1
    assert stay.done and not leave.done and not waiting.done and steps < 15


def test_more_tokens_than_a_cache_reserves_at_once_are_written(decoder, model, monkeypatch):
    monkeypatch.setattr(batch_decoder, "GROWTH", 8)
    (completion,) = run(decoder, greedy(prompt(4), 60))[0]
    assert completion.token_ids == likeliest(model, prompt(4), completion.token_ids)
    assert len(completion.token_ids) == 60
