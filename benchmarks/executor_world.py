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
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from benchmarks.executor_draws import SHOWN, Array, Draws, Ints, Rounds, draws, multisets, rounds, until_decided
from tracelift_ray.config.schema import AlgorithmConfig, RewardConfig
from tracelift_ray.reward.compute import compute_reward
from tracelift_ray.reward.forms import RewardForm
from tracelift_ray.types import Baseline, RubricScore

GROUP, KINDS = 4, 6
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
        first: samples of a first round, after which ``rule`` says which traces draw the others; 0: all at once.
        rule: of ``executor_draws.RULES``.
        unbiased: whether traces of two rounds are paid what their first round is worth on average (``rounds``).
        stops: what is drawn one by one, until the other samples can change no reward: the K of each "trace" (after its
            fresh sample, with the baseline known), or the "baseline" of a group whose traces are known.
    """

    name: str
    e2e: str
    k: int
    baseline: int
    known: int = 0
    prior: float = 0.0
    own_baseline: bool = False
    first: int = 0
    rule: str = "dead"
    unbiased: bool = False
    stops: str = ""

    @property
    def samples(self) -> int:
        """Samples with each trace."""
        return self.k + (self.e2e != "mean")

    def config(self, config: RewardConfig) -> RewardConfig:
        """``config`` under this scheme; "cached" lets the baseline have as many samples as it has here."""
        ties = {1: 0.5} if self.k == 3 else {}
        chosen = replace(config, e2e=self.e2e, num_samples=self.k, tie_table=ties)
        return replace(chosen, baseline="cached", cached_samples=self.baseline + self.known)

    def drawn(self, on: float = 1.0, group: int = GROUP) -> float:
        """Samples of a group, where a share of traces goes on after the first round."""
        with_trace = self.first + on * (self.samples - self.first) if self.first else self.samples
        return group * with_trace + self.baseline * (group if self.own_baseline else 1)

    def requests(self, drawn: float, group: int = GROUP) -> tuple[float, float]:
        """Requests with traces and without for a group of ``drawn`` samples; the samples of one share its prompt.

        The released schedule makes one for each sample, and so does what is drawn one by one.
        """
        if self.own_baseline:
            return group * self.samples, group * self.baseline
        if self.stops == "trace":
            return drawn - self.baseline, 1
        if self.stops == "baseline":
            return group, drawn - group * self.samples
        least = self.drawn(0, group)
        again = (drawn - least) / (self.samples - self.first) if self.first else 0
        return group + again, min(1, self.baseline)


FIXED = Scheme("fixed: K = 3, fresh", "fresh", 3, 3)


@dataclass(frozen=True)
class World:
    """Problems: p and q of their kinds of traces, (problems, KINDS), the policy, alike, and p without a trace."""

    p: Array
    q: Ints
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
class Table(Draws):
    """The rewards of a scheme: of score, what the samples show and successes without a trace.

    Under ``fresh`` the last sample is apart, and ``shown`` counts it with the others.

    Attributes:
        values: (scores, shown, successes).
        by_successes: under ``fresh``, a place in ``shown`` by what the last sample shows and the others' successes.
        rounds: where there are two.
    """

    values: Array
    by_successes: Ints | None = None
    rounds: Rounds | None = None


def table(scheme: Scheme, form: RewardForm, config: RewardConfig, mean: float) -> Table:
    """The table of ``scheme``; ``mean`` is the mean rate without a trace, for the prior."""
    total = scheme.baseline + scheme.known
    config = scheme.config(config)
    whole, orders, by_successes = draws(scheme.samples), multisets(scheme.samples), None
    if scheme.e2e == "fresh":
        apart = draws(scheme.k)
        orders = [(*together, last) for together in multisets(scheme.k) for last in range(3)]
        shown = tuple(tuple(map(order.count, range(3))) for order in orders)
        whole = Draws(shown, apart.ways.repeat(3))
        first = [apart.passed.tolist().index(successes) for successes in range(scheme.k + 1)]
        by_successes = 3 * np.array(first) + np.arange(3)[:, None]
    values = np.empty((len(SCORES), len(orders), total + 1))
    for (i, q), (j, order), b in itertools.product(enumerate(SCORES), enumerate(orders), range(total + 1)):
        samples = [SHOWN[each] for each in order]
        given, fresh = (samples[:-1], samples[-1]) if scheme.e2e == "fresh" else (samples, None)
        baseline = Baseline(b, total, mean * scheme.prior, scheme.prior)
        values[i, j, b] = compute_reward(config, form, given, fresh, baseline, _rubric(float(q))).reward
    if not scheme.first:
        return Table(whole.shown, whole.ways, values, by_successes)
    once = replace(scheme, k=scheme.k - scheme.samples + scheme.first, first=0)
    ended = table(once, form, config, mean).values
    again = rounds(scheme.rule, scheme.first, whole, ended, values, scheme.unbiased)
    return Table(whole.shown, whole.ways, values, by_successes, again)


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
    without = binomial(rewards.values.shape[-1] - 1, world.without)
    if scheme.first:
        assert rewards.rounds is not None
        mean, square = (_moment(world, rewards.rounds, without, power) for power in (1, 2))
        return Moments(mean, square - mean**2)
    shown, values = rewards.chances(world.p), rewards.values[world.q]  # problems, kinds, shown, successes
    mean = np.einsum("pks,pb,pksb->pk", shown, without, values)
    square = np.einsum("pks,pb,pksb->pk", shown, without, values**2)
    return Moments(mean, square - mean**2)


def _moment(world: World, two: Rounds, without: Array, power: int) -> Array:
    """The expectation of a power of the reward of every kind of trace, over its group's others too."""
    first, more = two.first.chances(world.p), two.more.chances(world.p)
    succeeds = np.einsum("pk,pks->ps", world.policy, binomial(two.size, world.p))
    chances = two.code_chances(succeeds, GROUP - 1) * without[..., None]
    ended = two.values[world.q] ** power  # problems, kinds, shown in the first round, successes
    found = np.zeros_like(world.p)
    for code in range(chances.shape[-1]):
        on = two.goes_on(code)
        found += np.einsum("pki,i,pb,pkib->pk", first, 1 - on, chances[..., code], ended)
        paid = two.paid[code][world.q][:, :, two.joined] ** power
        found += np.einsum("pki,i,pkj,pb,pkijb->pk", first, on, more, chances[..., code], paid, optimize=True)
    return found


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
    signal = length = noise = samples = 0.0
    for problem, expected in enumerate(truth):
        kinds = rng.choice(KINDS, size=(groups, GROUP), p=world.policy[problem])
        exact = advantages(expected[kinds], config)
        (one, paid_for), (other, _) = (_executed(world, scheme, rewards, problem, kinds, config, rng) for _ in range(2))
        dot += float((one * exact).sum())
        both += float((one * other).sum())
        own += float((one * one + other * other).sum() / 2)
        true += float((exact * exact).sum())
        samples += paid_for / len(truth)
        drawn = np.stack([(one * (kinds == kind)).sum(axis=1) for kind in range(KINDS)], axis=1)
        aim = _true_gradient(world.policy[problem], expected, config)
        signal += float(drawn.mean(axis=0) @ aim)
        length += float(aim @ aim)
        noise += float(drawn.var(axis=0, ddof=1).sum())
    return Gradient(samples, dot**2 / true / (own - both), signal**2 / length / noise)


def _executed(
    world: World,
    scheme: Scheme,
    rewards: Table,
    problem: int,
    kinds: Ints,
    config: AlgorithmConfig,
    rng: np.random.Generator,
) -> tuple[Array, float]:
    """The advantages of some groups, and the mean of their samples."""
    p, q = world.p[problem], world.q[problem][kinds]
    size = kinds.shape if scheme.own_baseline else (len(kinds), 1)
    if scheme.first:
        assert rewards.rounds is not None
        return _in_rounds(scheme, rewards.rounds, p, q, kinds, world.without[problem], config, rng)
    shown = _drawn(rewards, p, kinds, rng)
    without = rng.binomial(rewards.values.shape[-1] - 1, world.without[problem], size=size)
    paid = rewards.values[q, shown, np.broadcast_to(without, kinds.shape)]
    drawn = scheme.drawn()
    if scheme.stops == "trace":
        assert rewards.by_successes is not None
        apart = rewards.by_successes[shown % 3]  # by what the fresh sample shows
        decided = until_decided(rewards.values[q[..., None], apart, without[..., None]][..., None], p[kinds])
        drawn = scheme.baseline + GROUP * (1 + float(decided.mean()))
    if scheme.stops == "baseline":
        by_baseline = np.swapaxes(rewards.values[q, shown], 1, 2)
        chance = np.full(len(kinds), world.without[problem])
        drawn = GROUP * scheme.samples + float(until_decided(by_baseline, chance).mean())
    return advantages(paid, config), drawn


def _in_rounds(
    scheme: Scheme,
    two: Rounds,
    p: Array,
    q: Ints,
    kinds: Ints,
    success_without: float,
    config: AlgorithmConfig,
    rng: np.random.Generator,
) -> tuple[Array, float]:
    first, more = _drawn(two.first, p, kinds, rng), _drawn(two.more, p, kinds, rng)
    without = rng.binomial(two.values.shape[-1] - 1, success_without, size=len(kinds))
    successes = two.first.passed[first]
    codes = two.codes(successes, without)
    on = (codes >> successes & 1) == 1
    paid = two.paid[codes, q, two.joined[first, more], without[:, None]]
    rewards = np.where(on, paid, two.values[q, first, without[:, None]])
    return advantages(rewards, config), scheme.drawn(float(on.mean()))


def _drawn(table: Draws, p: Array, kinds: Ints, rng: np.random.Generator) -> Ints:
    """What the samples of each trace show."""
    sums = table.chances(p).cumsum(axis=-1)[kinds]
    return np.asarray((sums < rng.random(kinds.shape)[..., None] * sums[..., -1:]).sum(axis=-1))


def _true_gradient(policy: Array, expected: Array, config: AlgorithmConfig) -> Array:
    """The expectation, over the groups that the policy may draw, of what a group's advantages make of each kind."""
    groups = np.array(list(itertools.combinations_with_replacement(range(KINDS), GROUP)))
    counts = np.stack([(groups == kind).sum(axis=1) for kind in range(KINDS)], axis=1)
    orders = math.factorial(GROUP) / np.array([math.prod(map(math.factorial, row)) for row in counts.tolist()])
    chances = orders * (policy**counts).prod(axis=1)
    worth = advantages(expected[groups], config)
    by_kind = np.stack([(worth * (groups == kind)).sum(axis=1) for kind in range(KINDS)], axis=1)
    return np.asarray(chances @ by_kind)
