"""Log-probs under a cut distribution: what the engine drew from, the sampled token always kept."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.tiny import engine_config, make_tiny_llama
from tracelift_ray.engines.kinds import build_engine
from tracelift_ray.training import logprobs
from tracelift_ray.training.logprobs import Distribution, token_scores
from tracelift_ray.training.microbatches import collate
from tracelift_ray.training.output_layer import CompletionScorer
from tracelift_ray.types import Prompt, SamplingParams, TrainSample

CUTS = [Distribution(0.7, top_p=0.8), Distribution(1.0, top_k=5), Distribution(1.3, top_p=0.6, top_k=12)]


def kept_by_hand(probabilities: np.ndarray, cut: Distribution) -> list[int]:
    """The tokens of a cut in float64: the likeliest ``top_k``, and of these as many as reach ``top_p``."""
    order = [int(token) for token in np.argsort(-probabilities)][: cut.top_k or None]
    share = probabilities[order] / probabilities[order].sum()
    reached = np.cumsum(share)
    return order[: int(np.searchsorted(reached, cut.top_p)) + 1] if cut.top_p < 1 else order


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_log_probs_are_over_the_kept_set_and_the_sampled_token_is_always_in_it(cut: Distribution) -> None:
    logits = torch.randn(200, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    targets = torch.arange(200) % 30
    found, entropies = token_scores(logits, targets, cut)
    for row in range(200):
        probabilities = torch.softmax(logits[row] / cut.temperature, -1).numpy()
        kept = {*kept_by_hand(probabilities, cut), int(targets[row])}
        expected = np.log(probabilities[targets[row]] / probabilities[sorted(kept)].sum())
        assert found[row].item() == pytest.approx(expected, abs=1e-5)
        assert entropies[row].item() == pytest.approx(-(probabilities * np.log(probabilities)).sum(), abs=1e-5)


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_the_gradient_under_a_cut_is_that_of_the_kept_tokens_alone(cut: Distribution) -> None:
    logits = torch.randn(40, 30, generator=torch.Generator().manual_seed(1)).requires_grad_()
    targets = torch.arange(40) % 30
    (gradient,) = torch.autograd.grad(token_scores(logits, targets, cut)[0].sum(), logits)
    assert torch.isfinite(gradient).all()
    for row in range(40):
        probabilities = torch.softmax(logits[row].detach().double() / cut.temperature, -1).numpy()
        kept = sorted({*kept_by_hand(probabilities, cut), int(targets[row])})
        expected = np.zeros(30)
        expected[kept] = -probabilities[kept] / probabilities[kept].sum() / cut.temperature
        expected[targets[row]] += 1 / cut.temperature
        assert gradient[row].numpy() == pytest.approx(expected, abs=1e-5)


def test_ties_of_the_last_kept_token_stay_and_a_tiny_top_p_keeps_one() -> None:
    logits = torch.tensor([[2.0, 1.0, 1.0, 0.0]])
    assert token_scores(logits, torch.tensor([0]), Distribution(1.0, top_k=2))[0].item() == pytest.approx(
        2 - np.log(np.exp(2) + 2 * np.exp(1)), abs=1e-6
    )
    assert token_scores(logits, torch.tensor([0]), Distribution(1.0, top_p=1e-6))[0].item() == 0.0


@pytest.mark.parametrize("chunk", [7, 1024])
@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_the_learner_finds_the_log_probs_that_the_engine_emitted(
    tmp_path: Path, cut: Distribution, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logprobs, "CHUNK", chunk)
    path = make_tiny_llama(tmp_path, seed=2, tokenizer="word", tied=True)
    params = SamplingParams(20, cut.temperature, cut.top_p, n=6, seed=64, logprobs=True, top_k=cut.top_k)
    prompts = [tuple(10 + (start + 7 * i) % 100 for i in range(3 + start)) for start in range(3)]

    async def sampled() -> list[TrainSample]:
        engine = build_engine(engine_config("transformers"), path, seed=1)
        await engine.start()
        answers = await asyncio.gather(*(engine.generate(Prompt(ids, ""), params) for ids in prompts))
        await engine.close()
        return [
            TrainSample(ids, each.token_ids, each.logprobs or (), 1.0)
            for ids, answer in zip(prompts, answers, strict=True)
            for each in answer
        ]

    samples = asyncio.run(sampled())
    batch = collate(samples, [1.0] * len(samples), torch.device("cpu"))
    scorer = CompletionScorer(AutoModelForCausalLM.from_pretrained(path), torch.device("cpu"))
    with torch.no_grad():
        found, _ = scorer.scores(batch, cut)
        whole, _ = scorer.scores(batch, Distribution(cut.temperature))
    assert (found - batch.behaviour).abs().max() < 1e-4
    assert (whole - batch.behaviour).abs().mean() > 0.05  # the cut is there to be seen
