"""Sampling of rows with seeds and settings of their own."""

from __future__ import annotations

import numpy as np
import torch

from tracelift_ray.engines.sampling import sample, uniforms

ALL = torch.tensor([0])  # no top-k


def draws(seeds: list[int], step: int = 0) -> torch.Tensor:
    values = uniforms(np.array(seeds, dtype=np.uint64), np.full(len(seeds), step, dtype=np.uint64))
    return torch.from_numpy(values)


def test_uniforms_are_uniform_and_neither_seeds_nor_steps_repeat_each_other():
    by_seed = draws(list(range(20_000)))
    by_step = torch.from_numpy(uniforms(np.full(20_000, 5, dtype=np.uint64), np.arange(20_000, dtype=np.uint64)))
    for values in (by_seed, by_step):
        assert values.min() >= 0 and values.max() < 1
        counts = torch.histc(values, bins=20, min=0, max=1)
        assert (counts - 1000).abs().max() < 150  # 5 standard deviations
        assert values.unique().numel() == 20_000
    assert abs(np.corrcoef(draws(list(range(1000))), draws(list(range(1000)), step=1))[0, 1]) < 0.1


def test_samples_follow_the_distribution_after_temperature():
    logits = torch.tensor([[1.0, 0.0, -1.0, 2.0]]).expand(20_000, 4)
    temperature = torch.full((20_000,), 0.7)
    tokens, logprobs = sample(logits, temperature, torch.ones(20_000), ALL, draws(list(range(20_000))))
    expected = torch.softmax(logits[0] / 0.7, dim=0)
    found = torch.bincount(tokens, minlength=4) / 20_000
    assert (found - expected).abs().max() < 0.015
    assert torch.allclose(logprobs.exp(), expected[tokens], atol=1e-6)


def test_temperature_zero_takes_the_likeliest_under_the_models_own_distribution():
    logits = torch.tensor([[1.0, 3.0, 2.0], [5.0, 3.0, 2.0]])
    tokens, logprobs = sample(logits, torch.tensor([0.0, 1.0]), torch.ones(2), ALL, torch.tensor([0.999, 0.0]).double())
    assert tokens.tolist() == [1, 0]
    assert torch.allclose(logprobs, torch.log_softmax(logits, dim=1)[[0, 1], [1, 0]])


def test_top_p_leaves_out_the_tail_and_renormalises():
    probabilities = torch.tensor([[0.5, 0.3, 0.15, 0.05]])
    logits = probabilities.log().expand(4000, 4)
    top_p = torch.full((4000,), 0.7)
    tokens, logprobs = sample(logits, torch.ones(4000), top_p, ALL, draws(list(range(4000))))
    assert set(tokens.tolist()) == {0, 1}
    expected = torch.tensor([0.625, 0.375])
    assert torch.allclose(logprobs.exp(), expected[tokens], atol=1e-6)


def test_a_row_does_not_depend_on_its_neighbours():
    logits = torch.randn(50, 30, generator=torch.Generator().manual_seed(0))
    top_p = torch.ones(50)
    top_p[7] = 0.5
    together, _ = sample(logits, torch.ones(50), top_p, ALL, draws(list(range(50))))
    for row in range(50):
        alone, _ = sample(logits[row : row + 1], torch.ones(1), top_p[row : row + 1], ALL, draws([row]))
        assert alone.item() == together[row].item()
