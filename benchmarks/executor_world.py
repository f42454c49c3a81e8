"""A world in which the noise of the executor's samples can be told exactly, for ``benchmarks.executor_tokens``.

A problem has a few kinds of traces, each with a success rate p and a rubric score q, a policy over the kinds, and a
success rate without a trace. Rewards are those of the library, tabulated for all that the samples can show; their bias
and variance are exact, and what they make of the gradient is drawn, group by group, with the library's formula of the
advantage.

Promise: all draws follow from the seed. The true gradient is that of a policy with one parameter for each kind, under
advantages of expected rewards, and these are the ones of ``FIXED``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tracelift_ray.config.schema import AlgorithmConfig, RewardConfig
from tracelift_ray.reward.compute import compute_reward
from tracelift_ray.reward.forms import RewardForm
from tracelift_ray.types import Artifact, Baseline, Execution, RubricScore, Verdict

Array = NDArray[np.float64]
GROUP, KINDS = 4, 6
#: What a sample can show: all tests pass, half of them do, it does not run; and the shares of failing samples.
SHOWN = tuple(
    Execution(Artifact("", ""), Verdict(outcome, passed, 4))  # type: ignore[arg-type]
    for outcome, passed in (("passed", 4), ("wrong_answer", 2), ("does_not_compile", 0))
)
FAILING = (0.6, 0.4)
#: Rubric scores lie on this grid.
SCORES = np.linspace(0, 1, 21)
#: Correlation of q with p, and how far q spreads.
CORRELATION, SPREAD = 0.5, 0.25
#: By world: the Beta distribution of how well a problem's traces serve; theirs spread about it with this strength.
WORLDS: Mapping[str, tuple[float, float]] = {"even": (1, 1), "easy": (4, 1), "hard": (1, 4)}
STRENGTH, WITHOUT = 1.5, 0.6


@dataclass(frozen=True)
class Scheme:
    """How the samples of a group are drawn.

    Attributes:
        e2e, k: as ``reward.e2e`` and ``reward.num_samples``.
        baseline: samples without a trace, for each group.
        known: samples without a trace that are pooled from former groups.
        prior: strength of the prior, which is the mean rate over problems.
        own_baseline: whether each trace has a baseline of its own.
        first: samples of a first round, which ends a group where all failed and the baseline is 0; 0: none.
    """

    name: str
    e2e: str
    k: int
    baseline: int
    known: int = 0
    prior: float = 0.0
    own_baseline: bool = False
    first: int = 0

    @property
    def samples(self) -> int:
        """Samples with each trace."""
        return self.k + (self.e2e != "mean")

    def config(self, config: RewardConfig) -> RewardConfig:
        """``config`` under this scheme; "cached" lets the baseline have as many samples as it has here."""
        ties = {1: 0.5} if self.k == 3 else {}
        chosen = replace(config, e2e=self.e2e, num_samples=self.k, tie_table=ties)
        return replace(chosen, baseline="cached", cached_samples=self.baseline + self.known)

    def drawn(self, dead: float = 0.0, group: int = GROUP) -> float:
        """Samples of a group, where a share of groups ends after the first round."""
        with_trace = self.samples - dead * (self.samples - self.first)
        return group * with_trace + self.baseline * (group if self.own_baseline else 1)


FIXED = Scheme("fixed: K = 3, fresh", "fresh", 3, 3)


@dataclass(frozen=True)
class World:
    """Problems: p and q of their kinds of traces, (problems, KINDS), the policy, alike, and p without a trace."""

    p: Array
    q: NDArray[np.int64]
    policy: Array
    without: Array

    @staticmethod
    def of(name: str, problems: int, seed: int) -> World:
        """A world of ``WORLDS``."""
        rng = np.random.default_rng([seed, *name.encode()])
        served = rng.beta(*WORLDS[name], size=problems)[:, None]
        p = rng.beta(STRENGTH * served, STRENGTH * (1 - served), size=(problems, KINDS))
        noise = rng.normal(size=p.shape)
        scores = CORRELATION * (p - p.mean()) / p.std() + math.sqrt(1 - CORRELATION**2) * noise
        q = np.rint((len(SCORES) - 1) * np.clip(0.5 + SPREAD * scores, 0, 1)).astype(int)
        return World(p, q, rng.dirichlet(np.ones(KINDS), size=problems), WITHOUT * served[:, 0])


@dataclass(frozen=True)
class Table:
    """The rewards of a scheme: of score, what the samples show and successes without a trace.

    Attributes:
        shown: what the samples show, by how many of each kind of ``SHOWN``; under ``fresh`` the last is apart.
        ways: in how many orders each can come.
        values: (scores, shown, successes).
    """

    shown: tuple[tuple[int, ...], ...]
    ways: Array
    values: Array

    def chances(self, p: Array) -> Array:
        """Chance of each of ``shown``: the shape of ``p`` and one more axis."""
        each = np.stack([p, (1 - p) * FAILING[0], (1 - p) * FAILING[1]], axis=-1)
        powers = each[..., None, :] ** np.array(self.shown)
        return self.ways * powers.prod(axis=-1)


def table(scheme: Scheme, form: RewardForm, config: RewardConfig, mean: float) -> Table:
    """The table of ``scheme``; ``mean`` is the mean rate without a trace, for the prior."""
    total = scheme.baseline + scheme.known
    config = scheme.config(config)
    draws = [(tuple(map(together.count, range(3))), together) for together in _multisets(scheme.samples)]
    if scheme.e2e == "fresh":
        draws = [
            (tuple(map((*apart, last).count, range(3))), (*apart, last))
            for apart in _multisets(scheme.k)
            for last in range(3)
        ]
    values = np.empty((len(SCORES), len(draws), total + 1))
    for (i, q), (j, (_, order)), b in itertools.product(enumerate(SCORES), enumerate(draws), range(total + 1)):
        samples = [SHOWN[each] for each in order]
        given, fresh = (samples[:-1], samples[-1]) if scheme.e2e == "fresh" else (samples, None)
        baseline = Baseline(b, total, mean * scheme.prior, scheme.prior)
        values[i, j, b] = compute_reward(config, form, given, fresh, baseline, _rubric(float(q))).reward
    apart = 1 if scheme.e2e == "fresh" else 0
    ways = [_orders(order[: len(order) - apart]) for _, order in draws]
    return Table(tuple(counts for counts, _ in draws), np.array(ways, dtype=float), values)


def _multisets(size: int) -> list[tuple[int, ...]]:
    return list(itertools.combinations_with_replacement(range(3), size))


def _orders(drawn: Sequence[int]) -> int:
    return math.factorial(len(drawn)) // math.prod(math.factorial(drawn.count(each)) for each in range(3))


@lru_cache
def _rubric(q: float) -> RubricScore:
    return RubricScore((), q, q)


def binomial(n: int, p: Array) -> Array:
    """Chances of 0 to n successes: the shape of ``p`` and one more axis."""
    successes = np.arange(n + 1)
    ways = np.array([math.comb(n, each) for each in successes], dtype=float)
    return ways * p[..., None] ** successes * (1 - p[..., None]) ** (n - successes)


def advantages(rewards: Array, config: AlgorithmConfig) -> Array:
    """``rl.advantages`` of ``grpo`` for many groups at a time, along the last axis."""
    spread = rewards.std(axis=-1, keepdims=True)
    by = np.maximum(spread + config.advantage_eps, config.std_floor)
    return np.where(spread > config.min_std, (rewards - rewards.mean(axis=-1, keepdims=True)) / by, 0.0)


@dataclass(frozen=True)
class Moments:
    """The reward of every kind of trace of every problem: its exact expectation and variance."""

    mean: Array
    variance: Array


def moments(world: World, scheme: Scheme, rewards: Table) -> Moments:
    """Exact, as every outcome is enumerated."""
    shown = rewards.chances(world.p)
    without = binomial(rewards.values.shape[-1] - 1, world.without)
    values = rewards.values[world.q]  # problems, kinds, shown, successes
    mean = np.einsum("pks,pb,pksb->pk", shown, without, values)
    square = np.einsum("pks,pb,pksb->pk", shown, without, values**2)
    variance = square - mean**2
    if scheme.first:  # a group that ends pays nothing, whatever its later samples would have shown
        ends = shown * _first_failed(scheme, rewards)
        others = (world.policy * (1 - world.p) ** scheme.first).sum(axis=1) ** (GROUP - 1)
        lost = np.einsum("pks,pks->pk", ends, values[..., 0]) * (without[:, 0] * others)[:, None]
        mean = mean - lost
    return Moments(mean, variance)


def _first_failed(scheme: Scheme, rewards: Table) -> Array:
    """For each of what the samples show, the chance that those of the first round are failures."""
    failures = [sum(counts[1:]) for counts in rewards.shown]
    orders = math.comb(scheme.samples, scheme.first)
    return np.array([math.comb(each, scheme.first) / orders for each in failures])


@dataclass(frozen=True)
class Gradient:
    """What the samples of a scheme make of the gradient.

    Attributes:
        drawn: samples of a group.
        given_traces: squared signal over noise of a group's advantages, the traces being given.
        whole: the same of the gradient of one group of each problem, drawn traces included.
    """

    drawn: float
    given_traces: float
    whole: float


def gradient(
    world: World, scheme: Scheme, rewards: Table, truth: Array, config: AlgorithmConfig, groups: int, seed: int
) -> Gradient:
    """Of ``groups`` groups for each problem, each executed twice; ``truth`` are the expected rewards of all kinds."""
    rng = np.random.default_rng(seed)
    dot = own = both = true = 0.0
    signal = length = noise = dead = 0.0
    for problem, expected in enumerate(truth):
        kinds = rng.choice(KINDS, size=(groups, GROUP), p=world.policy[problem])
        exact = advantages(expected[kinds], config)
        (one, ended), (other, _) = (_executed(world, scheme, rewards, problem, kinds, config, rng) for _ in range(2))
        dot += float((one * exact).sum())
        both += float((one * other).sum())
        own += float((one * one + other * other).sum() / 2)
        true += float((exact * exact).sum())
        dead += ended / len(truth)
        drawn = np.stack([(one * (kinds == kind)).sum(axis=1) for kind in range(KINDS)], axis=1)
        aim = _true_gradient(world.policy[problem], expected, config)
        signal += float(drawn.mean(axis=0) @ aim)
        length += float(aim @ aim)
        noise += float(drawn.var(axis=0, ddof=1).sum())
    return Gradient(scheme.drawn(dead), dot**2 / true / (own - both), signal**2 / length / noise)


def _executed(
    world: World,
    scheme: Scheme,
    rewards: Table,
    problem: int,
    kinds: NDArray[np.int64],
    config: AlgorithmConfig,
    rng: np.random.Generator,
) -> tuple[Array, float]:
    """The advantages of some groups, and the share that ended after the first round."""
    sums = rewards.chances(world.p[problem]).cumsum(axis=-1)[kinds]
    shown = (sums < rng.random(kinds.shape)[..., None] * sums[..., -1:]).sum(axis=-1)
    size = kinds.shape if scheme.own_baseline else (len(kinds), 1)
    without = rng.binomial(rewards.values.shape[-1] - 1, world.without[problem], size=size)
    paid = rewards.values[world.q[problem][kinds], shown, np.broadcast_to(without, kinds.shape)]
    if not scheme.first:
        return advantages(paid, config), 0.0
    failed = rng.random(kinds.shape) < _first_failed(scheme, rewards)[shown]
    ends = failed.all(axis=1) & (without[:, 0] == 0)
    return advantages(np.where(ends[:, None], 0.0, paid), config), float(ends.mean())


def _true_gradient(policy: Array, expected: Array, config: AlgorithmConfig) -> Array:
    """The expectation, over the groups that the policy may draw, of what a group's advantages make of each kind."""
    groups = np.array(list(itertools.combinations_with_replacement(range(KINDS), GROUP)))
    counts = np.stack([(groups == kind).sum(axis=1) for kind in range(KINDS)], axis=1)
    orders = math.factorial(GROUP) / np.array([math.prod(map(math.factorial, row)) for row in counts.tolist()])
    chances = orders * (policy**counts).prod(axis=1)
    worth = advantages(expected[groups], config)
    by_kind = np.stack([(worth * (groups == kind)).sum(axis=1) for kind in range(KINDS)], axis=1)
    return np.asarray(chances @ by_kind)
