"""From rewards to the loss of a batch: every estimator under every normalisation and correction is its formulas.

And the update of a small model does not depend on ranks, micro-batches, the layout, or the order of groups and traces.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.learner_configs import algorithm
from tests.unit.rl.batches import Rewards, scored_batch
from tests.unit.rl.estimator_formulas import FORMULAS, PARTS, WEIGHTS
from tests.unit.rl.loss_formulas import expected_loss
from tracelift_ray.config.schema import AlgorithmConfig
from tracelift_ray.rl.advantages import ESTIMATORS
from tracelift_ray.rl.batch import train_batch
from tracelift_ray.rl.corrections import CORRECTIONS
from tracelift_ray.rl.losses import LOSSES, LossInputs
from tracelift_ray.rl.normalisations import NORMALISATIONS, token_weight
from tracelift_ray.rl.objective import objective
from tracelift_ray.training.logprobs import Distribution
from tracelift_ray.training.microbatches import collate
from tracelift_ray.training.output_layer import CompletionScorer
from tracelift_ray.training.packing import plan_micro_batches
from tracelift_ray.types import TrainBatch, TrainSample

CPU, VOCABULARY = torch.device("cpu"), 13
#: Rewards with and without spread, and a masked trace; single components without spread, too.
GROUPS = [
    Rewards((1.0, 0.0, 0.4), (3, 1, 5), {n: (0.1, 0.8, 0.3 + i) for i, n in enumerate(PARTS)}),
    Rewards((0.5, 0.5), (4, 2), dict.fromkeys(PARTS, (0.5, 0.5))),
    Rewards(
        (0.9, 0.3, -0.2, 7.0),
        (2, 6, 1, 3),
        {"execution": (1.0, 0.0, 0.0, 0.0), "uplift": (0.2,) * 4, "rubric": (0.3, 0.7, 0.9, 0.1)},
        masked=frozenset({3}),
    ),
]


def config(**changes: Any) -> AlgorithmConfig:
    """Bounds that bite."""
    values: dict[str, Any] = {"clip_low": 0.1, "clip_high": 0.15, "mismatch_cap": 1.2, "k3_bound": 0.03, "min_std": 0.0}
    values |= {"correction_low": 0.8, "correction_high": 1.2, "component_weights": WEIGHTS, "advantage_eps": 1e-4}
    return algorithm(**(values | changes))


def learner_batch(groups: list[Rewards], config: AlgorithmConfig) -> TrainBatch:
    scored = scored_batch(groups, config)
    moved, unmoved = ([g for g in scored if g.has_signal == signal] for signal in (True, False))
    return train_batch(moved, unmoved, train_overlong=True)


def random_logprobs(batch: TrainBatch) -> list[dict[str, Any]]:
    """Log-probs for the samples of a batch, moved far enough to meet bounds."""
    rng = np.random.default_rng(0)
    made = []
    for sample in batch.samples:
        size = len(sample.completion_ids)
        old = rng.uniform(-3.0, -0.5, size)
        current, behaviour = old + rng.normal(0, 0.3, size), old + rng.normal(0, 0.3, size)
        made.append({"current": current, "old": old, "behaviour": behaviour, "group": sample.group_tokens})
    return made


def loss_of(batch: TrainBatch, traces: list[dict[str, Any]], config: AlgorithmConfig) -> float:
    flat = {name: torch.tensor(np.concatenate([t[name] for t in traces])) for name in ("current", "old", "behaviour")}
    lengths = torch.tensor([len(trace["old"]) for trace in traces])
    advantages = torch.tensor([sample.advantage for sample in batch.samples], dtype=torch.float64)
    weights = torch.tensor([token_weight(sample, batch, config) for sample in batch.samples], dtype=torch.float64)
    tokens = LossInputs(
        *flat.values(),
        advantages.repeat_interleave(lengths),
        torch.arange(len(traces)).repeat_interleave(lengths),
        lengths,
    )
    return (objective(tokens, None, flat["old"], config).loss * weights.repeat_interleave(lengths)).sum().item()


@pytest.mark.parametrize("correction", CORRECTIONS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_loss_of_a_batch_is_that_of_the_papers(estimator: str, correction: str) -> None:
    for normalisation in NORMALISATIONS:
        setting = config(advantage=estimator, correction=correction, normalisation=normalisation)
        batch = learner_batch(GROUPS, setting)
        traces = random_logprobs(batch)
        value = loss_of(batch, traces, setting)
        expected = FORMULAS[estimator](GROUPS, setting)
        every = setting.advantage in ("reward", "reinforce_pp")  # those that count groups without spread
        flat = np.concatenate([values for place, values in enumerate(expected) if every or place != 1])
        for trace, advantage in zip(traces, flat, strict=True):
            trace["advantage"] = advantage
        whole = replace(batch, num_traces=8, num_tokens=24, num_groups=3)  # counted by hand
        assert value == pytest.approx(expected_loss(traces, [t["current"] for t in traces], whole, setting), abs=1e-10)


class Bigram(torch.nn.Module):
    """A model whose next token depends on the last one alone, so that any layout is right for it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = torch.nn.Embedding(VOCABULARY, 4)
        self.head = torch.nn.Linear(4, VOCABULARY)

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.head

    def forward(self, input_ids: torch.Tensor, logits_to_keep: int, **_: Any) -> Any:
        return SimpleNamespace(logits=self.head(self.embed(input_ids)[:, -logits_to_keep:]))


def gradient(
    batch: TrainBatch, config: AlgorithmConfig, *, ranks: int = 1, budget: int = 10_000, packed: bool = False
) -> torch.Tensor:
    """The gradient that ranks together make of a batch, cut as the learner cuts it."""
    model = Bigram()
    scorer = CompletionScorer(model, CPU)
    plan = plan_micro_batches([len(sample) for sample in batch.samples], ranks, budget, packed=packed)
    for indices in (micro for rank in plan.ranks for micro in rank):
        samples = [batch.samples[index] for index in indices]
        weights = [token_weight(sample, batch, config) for sample in samples]
        piece = collate(samples, weights, CPU, packed=packed)
        current, entropy = scorer.scores(piece, Distribution(0.8, top_p=0.9), entropy_gradient=True)
        before = current.detach() + 0.1 * torch.sin(7.0 * current.detach())
        tokens = LossInputs(current, before, piece.behaviour, piece.advantages, piece.segments, piece.lengths)
        (objective(tokens, before, entropy, config).loss * piece.weights).sum().backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])


def with_tokens(batch: TrainBatch) -> TrainBatch:
    """The samples with token ids and behaviour log-probs of their own, made of their advantage and length."""

    def filled(sample: TrainSample) -> TrainSample:
        rng = np.random.default_rng([len(sample.completion_ids), round(abs(sample.advantage) * 1e4)])
        size = len(sample.completion_ids)
        ids = tuple(int(token) for token in rng.integers(0, VOCABULARY, size))
        return replace(sample, completion_ids=ids, behaviour_logprobs=tuple(rng.uniform(-3.5, -1.5, size)))

    return replace(batch, samples=tuple(filled(sample) for sample in batch.samples))


@settings(max_examples=60, deadline=None)
@given(
    estimator=st.sampled_from(sorted(ESTIMATORS)),
    loss=st.sampled_from(sorted(LOSSES)),
    correction=st.sampled_from(sorted(CORRECTIONS)),
    normalisation=st.sampled_from(sorted(NORMALISATIONS)),
    ranks=st.integers(1, 4),
    budget=st.integers(1, 60),
    packed=st.booleans(),
    random=st.randoms(use_true_random=False),
)
def test_the_update_depends_on_no_cut_and_no_order(
    estimator: str, loss: str, correction: str, normalisation: str, ranks: int, budget: int, packed: bool, random: Any
) -> None:
    setting = config(
        advantage=estimator,
        loss=loss,
        correction=correction,
        normalisation=normalisation,
        entropy_coef=0.05,
        kl_coef=0.1,
    )
    whole = gradient(with_tokens(learner_batch(GROUPS, setting)), setting)
    places = random.sample(range(len(GROUPS)), len(GROUPS))
    mixed = []
    for place in places:
        size = len(GROUPS[place].rewards)
        mixed.append(GROUPS[place].reordered(random.sample(range(size), size)))
    batch = with_tokens(learner_batch(mixed, setting))
    samples = tuple(random.sample(batch.samples, len(batch.samples)))
    found = gradient(replace(batch, samples=samples), setting, ranks=ranks, budget=budget, packed=packed)
    assert whole.norm() > 0
    assert (found - whole).norm() <= 1e-5 * whole.norm()
