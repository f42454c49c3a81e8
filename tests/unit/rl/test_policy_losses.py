"""Every registered loss against a formula written apart from it in float64 NumPy: values, gradients, and invariance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.learner_configs import algorithm
from tracelift_ray.config.schema import AlgorithmConfig
from tracelift_ray.rl.losses import LOSSES, LossInputs, sample_weight
from tracelift_ray.training.microbatches import collate
from tracelift_ray.types import TrainBatch, TrainSample

LENGTHS = (5, 1, 8, 3)
CONFIG = algorithm(clip_low=0.1, clip_high=0.15, mismatch_cap=1.2, normalisation="sequence")
Trace = dict[str, np.ndarray]


def traces(seed: int = 0) -> list[Trace]:
    """Log-probs of traces, moved far enough that some ratios and weights meet their bounds."""
    rng = np.random.default_rng(seed)
    made = []
    for length in LENGTHS:
        old = rng.uniform(-3.0, -0.5, length)
        current, behaviour = old + rng.normal(0, 0.3, length), old + rng.normal(0, 0.3, length)
        made.append({"current": current, "old": old, "behaviour": behaviour, "advantage": rng.normal(0, 1, 1)})
    return made


def tensors(some: list[Trace]) -> LossInputs:
    lengths = [len(trace["current"]) for trace in some]

    def flat(name: str) -> torch.Tensor:
        return torch.tensor(np.concatenate([trace[name] for trace in some] or [np.zeros(0)]))

    return LossInputs(
        flat("current").requires_grad_(),
        flat("old"),
        flat("behaviour"),
        torch.repeat_interleave(flat("advantage"), torch.tensor(lengths, dtype=torch.long)),
        torch.repeat_interleave(torch.arange(len(some)), torch.tensor(lengths, dtype=torch.long)),
        torch.tensor(lengths, dtype=torch.long),
    )


def torch_loss(name: str, some: list[Trace], config: AlgorithmConfig = CONFIG) -> tuple[float, np.ndarray]:
    """The summed loss of some traces of a batch, and its gradient with respect to the current log-probs."""
    tokens = tensors(some)
    batch = TrainBatch((), len(LENGTHS), sum(LENGTHS))
    weights = [sample_weight(length, batch, config) for length in tokens.lengths.tolist() for _ in range(length)]
    loss = (LOSSES[name](tokens, config).loss * torch.tensor(weights, dtype=torch.float64)).sum()
    (gradient,) = torch.autograd.grad(loss, tokens.current)
    return loss.item(), gradient.numpy()


def surrogate(ratio: np.ndarray, advantage: float, config: AlgorithmConfig) -> np.ndarray:
    bounded = np.clip(ratio, 1 - config.clip_low, 1 + config.clip_high)
    return np.minimum(ratio * advantage, bounded * advantage)


def ppo_clip(trace: Trace, config: AlgorithmConfig) -> float:
    weight = np.minimum(np.exp(trace["old"] - trace["behaviour"]), config.mismatch_cap)
    ratio = np.exp(trace["current"] - trace["old"])
    return -float(np.mean(weight * surrogate(ratio, trace["advantage"].item(), config)))


def gspo(trace: Trace, config: AlgorithmConfig) -> float:
    # A trace's likelihood to the power of one over its length, as the paper writes it.
    length = len(trace["current"])
    ratio = (np.exp(trace["current"].sum()) / np.exp(trace["old"].sum())) ** (1 / length)
    mismatch = (np.exp(trace["old"].sum()) / np.exp(trace["behaviour"].sum())) ** (1 / length)
    return -float(min(mismatch, config.mismatch_cap) * surrogate(ratio, trace["advantage"].item(), config))


EXPECTED: dict[str, Callable[[Trace, AlgorithmConfig], float]] = {"ppo_clip": ppo_clip, "gspo": gspo}


def expected_loss(name: str, some: list[Trace]) -> float:
    """The paper's mean over traces."""
    return sum(EXPECTED[name](trace, CONFIG) for trace in some) / len(LENGTHS)


def test_every_loss_has_its_formula_here() -> None:
    assert EXPECTED.keys() == LOSSES.keys()


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("seed", range(5))
def test_a_loss_is_its_formula_and_its_gradient_that_of_finite_differences(name: str, seed: int) -> None:
    some = traces(seed)
    value, gradient = torch_loss(name, some)
    assert value == pytest.approx(expected_loss(name, some), rel=1e-12)
    numeric = []
    for trace in some:
        for position in range(len(trace["current"])):
            sides = []
            for step in (1e-6, -1e-6):
                kept = trace["current"]
                trace["current"] = kept + step * (np.arange(len(kept)) == position)
                sides.append(expected_loss(name, some))
                trace["current"] = kept
            numeric.append((sides[0] - sides[1]) / 2e-6)
    assert gradient == pytest.approx(np.array(numeric), abs=1e-8)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("normalisation", ["token", "sequence", "constant"])
def test_a_loss_does_not_depend_on_how_the_batch_is_cut_or_ordered(name: str, normalisation: str) -> None:
    config = algorithm(clip_low=0.1, clip_high=0.15, mismatch_cap=1.2, normalisation=normalisation)
    some = traces()
    whole, gradient = torch_loss(name, some, config)
    parts = [torch_loss(name, part, config) for part in (some[:1], some[1:3], [], some[3:])]
    assert sum(loss for loss, _ in parts) == pytest.approx(whole, rel=1e-12)
    assert np.concatenate([each for _, each in parts]) == pytest.approx(gradient, rel=1e-12)
    backwards, reverse = torch_loss(name, some[::-1], config)
    assert backwards == pytest.approx(whole, rel=1e-12)
    assert sorted(reverse) == pytest.approx(sorted(gradient), rel=1e-12)


def test_padded_and_packed_rows_give_losses_the_same_traces() -> None:
    samples = [TrainSample((1, 2), tuple(range(n)), (-0.5,) * n, 0.1 * n) for n in LENGTHS]
    batches = [collate(samples, (1.0,) * len(samples), torch.device("cpu"), packed=packed) for packed in (False, True)]
    for batch in batches:
        assert batch.lengths.tolist() == list(LENGTHS)
        assert batch.segments.tolist() == [number for number, length in enumerate(LENGTHS) for _ in range(length)]
    empty = collate([], (), torch.device("cpu"))
    assert empty.segments.shape == empty.lengths.shape == (0,)


@pytest.mark.parametrize("name", LOSSES)
def test_at_the_first_update_a_loss_has_the_plain_policy_gradient(name: str) -> None:
    some = traces()
    for trace in some:
        trace["current"] = trace["old"]
    config = algorithm(mismatch_cap=0.0, normalisation="sequence")
    _, gradient = torch_loss(name, some, config)
    plain = [
        -trace["advantage"].item() / (len(LENGTHS) * n)
        for trace, n in zip(some, LENGTHS, strict=True)
        for _ in range(n)
    ]
    assert gradient == pytest.approx(np.array(plain), rel=1e-12)
