"""Every loss under every correction and normalisation against formulas written apart from them in float64 NumPy.

Values to 1e-10, gradients by finite differences, and that neither depends on how a batch is cut or ordered.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.learner_configs import algorithm
from tests.unit.rl.loss_formulas import (
    EXPECTED_LOSSES,
    EXPECTED_NORMALISATIONS,
    EXPECTED_WEIGHTS,
    Array,
    Trace,
    expected_loss,
    in_band,
)
from tracelift_ray.config.schema import AlgorithmConfig
from tracelift_ray.rl.corrections import CORRECTIONS
from tracelift_ray.rl.losses import LOSSES, LossInputs
from tracelift_ray.rl.normalisations import NORMALISATIONS, token_weight
from tracelift_ray.rl.objective import objective
from tracelift_ray.types import TrainBatch, TrainSample

LENGTHS = (5, 1, 8, 3)
#: Completion tokens of each trace's group; the first two traces are of one group, the last has one without gradient.
GROUP_TOKENS = (6, 6, 8, 7)
#: Two traces without gradient: one of the last group, and one alone.
BATCH = TrainBatch((), num_traces=6, num_tokens=sum(LENGTHS) + 4 + 2, num_groups=4)


def config(**changes: Any) -> AlgorithmConfig:
    """Bounds that bite on the traces here."""
    bounds = {"clip_low": 0.1, "clip_high": 0.15, "mismatch_cap": 1.2}
    band = {"correction_low": 0.8, "correction_high": 1.2, "k3_bound": 0.03}
    return algorithm(**(bounds | band | changes))


def traces(seed: int = 0, wide: float = 0.3) -> list[Trace]:
    """Log-probs of traces, moved far enough that some ratios and weights meet their bounds."""
    rng = np.random.default_rng(seed)
    made = []
    for length, group_tokens in zip(LENGTHS, GROUP_TOKENS, strict=True):
        old = rng.uniform(-3.0, -0.5, length)
        current, behaviour = old + rng.normal(0, wide, length), old + rng.normal(0, wide, length)
        advantage = float(rng.normal(0, 1))
        made.append(
            {"current": current, "old": old, "behaviour": behaviour, "advantage": advantage, "group": group_tokens}
        )
    return made


def inputs(some: list[Trace]) -> LossInputs:
    lengths = torch.tensor([len(trace["current"]) for trace in some], dtype=torch.long)

    def flat(name: str) -> torch.Tensor:
        return torch.tensor(np.concatenate([trace[name] for trace in some] or [np.zeros(0)]))

    return LossInputs(
        flat("current").requires_grad_(),
        flat("old"),
        flat("behaviour"),
        torch.tensor([trace["advantage"] for trace in some], dtype=torch.float64).repeat_interleave(lengths),
        torch.arange(len(some)).repeat_interleave(lengths),
        lengths,
    )


def torch_loss(some: list[Trace], config: AlgorithmConfig) -> tuple[float, Array]:
    """The summed loss of some traces of the batch, and its gradient with respect to the current log-probs."""
    tokens = inputs(some)
    weights = [
        token_weight(TrainSample((1,), tuple(range(len(trace["old"]))), (), 0.0, trace["group"]), BATCH, config)
        for trace in some
        for _ in trace["old"]
    ]
    terms = objective(tokens, None, torch.zeros(len(tokens.old)), config)
    loss = (terms.loss * torch.tensor(weights, dtype=torch.float64)).sum()
    (gradient,) = torch.autograd.grad(loss, tokens.current)
    return loss.item(), gradient.numpy()


def numeric_gradient(some: list[Trace], config: AlgorithmConfig, step: float = 1e-6) -> Array:
    found = []
    for place, trace in enumerate(some):
        for position in range(len(trace["current"])):
            sides = []
            for change in (step, -step):
                moved = [each["current"].copy() for each in some]
                moved[place][position] += change
                sides.append(expected_loss(some, moved, BATCH, config))
            found.append((sides[0] - sides[1]) / (2 * step))
    return np.array(found)


def test_everything_registered_has_its_formula_here() -> None:
    assert EXPECTED_LOSSES.keys() == LOSSES.keys()
    assert EXPECTED_WEIGHTS.keys() == CORRECTIONS.keys()
    assert EXPECTED_NORMALISATIONS.keys() == NORMALISATIONS.keys()


@pytest.mark.parametrize("correction", EXPECTED_WEIGHTS)
@pytest.mark.parametrize("loss", EXPECTED_LOSSES)
def test_a_loss_under_a_correction_and_a_normalisation_is_their_formula(loss: str, correction: str) -> None:
    for normalisation in EXPECTED_NORMALISATIONS:
        for seed in range(3):
            some, setting = traces(seed), config(loss=loss, correction=correction, normalisation=normalisation)
            value, _ = torch_loss(some, setting)
            assert value == pytest.approx(expected_loss(some, [t["current"] for t in some], BATCH, setting), abs=1e-10)


@pytest.mark.parametrize("loss", EXPECTED_LOSSES)
def test_the_gradient_is_that_of_finite_differences(loss: str) -> None:
    normalisations = (*NORMALISATIONS, *NORMALISATIONS, *NORMALISATIONS)
    for seed, (correction, normalisation) in enumerate(zip(CORRECTIONS, normalisations, strict=False)):
        some = traces(seed)
        setting = config(loss=loss, correction=correction, normalisation=normalisation, clip_dual=1.3 * (seed % 2))
        assert torch_loss(some, setting)[1] == pytest.approx(numeric_gradient(some, setting), abs=1e-8)


def test_the_dual_clip_bounds_what_a_negative_advantage_may_cost() -> None:
    some = traces(1, wide=2.0)
    for loss in ("ppo_clip", "gspo"):
        free, dual = config(loss=loss, correction="none"), config(loss=loss, correction="none", clip_dual=1.5)
        assert torch_loss(some, dual)[0] == pytest.approx(
            expected_loss(some, [t["current"] for t in some], BATCH, dual)
        )
        assert torch_loss(some, dual)[0] < torch_loss(some, free)[0]
        clipped = [objective(inputs(some), None, torch.zeros(17), each).policy.clipped.sum() for each in (free, dual)]
        assert clipped[0] < clipped[1]


def test_a_lower_bound_of_one_is_no_bound() -> None:
    some = traces(2, wide=2.0)
    for loss in ("ppo_clip", "gmpo", "cispo"):
        setting = config(loss=loss, clip_low=1.0, correction="none")
        assert torch_loss(some, setting)[0] == pytest.approx(
            expected_loss(some, [t["current"] for t in some], BATCH, setting), rel=1e-10
        )


@pytest.mark.parametrize("loss", LOSSES)
def test_at_the_first_update_a_loss_has_the_plain_policy_gradient(loss: str) -> None:
    some = traces()
    for trace in some:
        trace["current"] = trace["old"]
    _, gradient = torch_loss(some, config(loss=loss, correction="none", normalisation="sequence"))
    plain = [-trace["advantage"] / (6 * len(trace["old"])) for trace in some for _ in trace["old"]]
    assert gradient == pytest.approx(np.array(plain), rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_where_engine_and_learner_agree_no_correction_changes_anything(loss: str) -> None:
    some = traces()
    for trace in some:
        trace["behaviour"] = trace["old"]
    value, gradient = torch_loss(some, config(loss=loss, correction="none"))
    for correction in CORRECTIONS:
        other, its = torch_loss(some, config(loss=loss, correction=correction))
        assert other == pytest.approx(value, rel=1e-12) and its == pytest.approx(gradient, rel=1e-12)


def test_weights_report_what_they_cap_and_leave_out() -> None:
    tokens = inputs(traces(0, wide=1.0))
    gap = (tokens.old - tokens.behaviour).numpy()
    setting = config()
    truncated = CORRECTIONS["token_truncated"].weights(tokens, setting)
    assert truncated.truncated.tolist() == (np.exp(gap) >= 1.2).tolist()
    masked = CORRECTIONS["token_masked"].weights(tokens, setting)
    assert masked.masked.tolist() == (~in_band(np.exp(gap), setting)).tolist()
    assert 0 < masked.masked.mean() < 1 and not masked.truncated.any() and not truncated.masked.any()


def test_a_mismatch_beyond_all_numbers_leaves_no_nan() -> None:
    some = traces()
    some[0]["behaviour"] = some[0]["behaviour"] - 2000.0
    some[2]["behaviour"] = some[2]["behaviour"] + 2000.0
    for loss in LOSSES:
        for correction in CORRECTIONS:
            if correction != "bypass":  # its ratio is the mismatch itself
                value, gradient = torch_loss(some, config(loss=loss, correction=correction))
                assert np.isfinite(value) and np.isfinite(gradient).all()


def test_the_entropy_bonus_raises_the_entropy_and_is_weighted_like_the_loss() -> None:
    tokens, entropy = inputs(traces()), torch.rand(17, dtype=torch.float64, requires_grad=True)
    with_bonus, without = (objective(tokens, None, entropy, config(entropy_coef=c)).loss for c in (0.25, 0.0))
    assert (without - with_bonus).detach().numpy() == pytest.approx(0.25 * entropy.detach().numpy())
    (gradient,) = torch.autograd.grad(with_bonus.sum(), entropy)
    assert gradient.tolist() == [-0.25] * 17
    assert not torch.autograd.grad(without.sum(), entropy, allow_unused=True)[0]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    loss=st.sampled_from(sorted(LOSSES)),
    correction=st.sampled_from(sorted(CORRECTIONS)),
    normalisation=st.sampled_from(sorted(NORMALISATIONS)),
    order=st.permutations(range(len(LENGTHS))),
    cuts=st.sets(st.integers(0, len(LENGTHS))),
)
def test_a_loss_does_not_depend_on_how_the_batch_is_cut_or_ordered(
    seed: int, loss: str, correction: str, normalisation: str, order: list[int], cuts: set[int]
) -> None:
    setting = config(loss=loss, correction=correction, normalisation=normalisation)
    some = traces(seed)
    whole, gradient = torch_loss(some, setting)
    places = np.split(np.arange(sum(LENGTHS)), np.cumsum(LENGTHS)[:-1])
    ends = [0, *sorted(cuts), len(LENGTHS)]
    parts = [order[start:end] for start, end in pairwise(ends)]
    found = [torch_loss([some[i] for i in part], setting) for part in parts]
    assert sum(value for value, _ in found) == pytest.approx(whole, rel=1e-10, abs=1e-12)
    moved = np.concatenate([places[i] for i in order])
    assert np.concatenate([each for _, each in found]) == pytest.approx(gradient[moved], rel=1e-10, abs=1e-14)
