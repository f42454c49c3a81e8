"""Advantages: how much better a trace did than the others of its group, or of its batch.

An estimator is one function in ``ESTIMATORS``, named by ``algorithm.advantage``. It sees the unmasked traces of one
group. Where a method also compares groups, its second step (``over_batch``) sees the advantages of all unmasked traces
of a batch; what both are applied to, and when a group has signal, is in ``signal``.

Sums are exactly rounded (``math.fsum``), so that no advantage depends on the order of traces or groups.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tracelift_ray.config.schema import AlgorithmConfig


@dataclass(frozen=True)
class GroupRewards:
    """The unmasked traces of one group as an estimator sees them.

    Attributes:
        rewards: one finite number for each trace, at least one.
        lengths: completion tokens of each trace.
        components: the parts of the rewards by name, one number for each trace.

    Raises:
        ValueError: no rewards, or one that is not finite.
    """

    rewards: tuple[float, ...]
    lengths: tuple[int, ...]
    components: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.rewards:
            raise ValueError("a group without rewards has no advantages; leave such groups out")
        if not all(math.isfinite(r) for values in (self.rewards, *self.components.values()) for r in values):
            raise ValueError(f"rewards must be finite numbers, got {list(self.rewards)} of {dict(self.components)}")


#: The advantages of the traces of one group, in their order.
Advantages = Callable[[GroupRewards, AlgorithmConfig], tuple[float, ...]]
#: The final advantages of all traces of a batch, from those of their groups, in their order.
OverBatch = Callable[[Sequence[float], AlgorithmConfig], tuple[float, ...]]


@dataclass(frozen=True)
class Least:
    """How many traces a group must have, and why: what follows the estimator's name in messages."""

    traces: int
    why: str


PAIR = Least(2, "compares the traces of a group")
ONE = Least(1, "needs a trace")
#: Whether the rewards of a group tell an estimator anything.
Signal = Callable[[GroupRewards, AlgorithmConfig], bool]


@dataclass(frozen=True)
class Estimator:
    """An entry of ``ESTIMATORS``.

    Attributes:
        advantages: the function.
        least: a group with fewer unmasked traces tells it nothing.
        signal: whether a group tells it anything.
        over_batch: the second step; None where a group's advantages are final.
        components: whether it reads the parts of the rewards.
    """

    advantages: Advantages
    least: Callable[[AlgorithmConfig], Least]
    signal: Signal
    over_batch: OverBatch | None
    components: bool


ESTIMATORS: dict[str, Estimator] = {}


def spread(values: Sequence[float], kind: str) -> float:
    """Standard deviation of some numbers, at least one; exactly 0 where all are equal or there is only one.

    ``kind`` is ``sample`` (divides by n - 1), or ``population`` or ``none`` (by n): under ``none`` advantages are not
    divided by it, but it still decides whether there is signal.
    """
    if min(values) == max(values):
        return 0.0
    mean = math.fsum(values) / len(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return math.sqrt(squares / (len(values) - (kind == "sample")))


def rewards_differ(group: GroupRewards, config: AlgorithmConfig) -> bool:
    """Whether the rewards of a group spread by more than ``min_std``."""
    return spread(group.rewards, config.advantage_std) > config.min_std


def components_differ(group: GroupRewards, config: AlgorithmConfig) -> bool:
    """Whether any part of the rewards that has a weight spreads by more than ``min_std``."""
    return any(
        config.component_weights.get(name, 1.0) > 0 and spread(values, config.advantage_std) > config.min_std
        for name, values in group.components.items()
    )


def always(group: GroupRewards, config: AlgorithmConfig) -> bool:
    """Every group counts: its traces are not compared with each other alone."""
    return True


def estimator(
    name: str,
    *,
    least: Callable[[AlgorithmConfig], Least] = lambda config: PAIR,
    signal: Signal = rewards_differ,
    over_batch: OverBatch | None = None,
    components: bool = False,
) -> Callable[[Advantages], Advantages]:
    """Register a function under a name for ``algorithm.advantage``; see ``Estimator``."""

    def register(function: Advantages) -> Advantages:
        ESTIMATORS[name] = Estimator(function, least, signal, over_batch, components)
        return function

    return register


def normalised(values: Sequence[float], config: AlgorithmConfig) -> tuple[float, ...]:
    """``(x - mean) / max(std + advantage_eps, std_floor)``; with ``advantage_std: none`` the divisor is 1."""
    mean = math.fsum(values) / len(values)
    by = divisor(spread(values, config.advantage_std), config)
    return tuple((value - mean) / by for value in values)


def divisor(std: float, config: AlgorithmConfig) -> float:
    """What a centred value is divided by, where the standard deviation is ``std`` (above 0)."""
    return 1.0 if config.advantage_std == "none" else max(std + config.advantage_eps, config.std_floor)


def batch_normalised(values: Sequence[float], config: AlgorithmConfig) -> tuple[float, ...]:
    """``normalised`` over all traces of the batch; all 0 where these spread by no more than ``min_std``."""
    if spread(values, config.advantage_std) <= config.min_std:
        return (0.0,) * len(values)
    return normalised(values, config)


@estimator("grpo")
def group_relative(group: GroupRewards, config: AlgorithmConfig) -> tuple[float, ...]:
    """GRPO (arXiv 2402.03300): ``(r - mean) / max(std + advantage_eps, std_floor)``.

    With ``advantage_std: none`` the divisor is 1 (Dr. GRPO, arXiv 2503.20783).
    """
    return normalised(group.rewards, config)


@estimator("rloo")
def leave_one_out(group: GroupRewards, config: AlgorithmConfig) -> tuple[float, ...]:
    """RLOO (Ahmadian et al. 2024, arXiv 2402.14740): the reward less the mean reward of the other traces.

    The baseline of a trace does not depend on the trace itself, so the gradient is unbiased.
    """
    total, others = math.fsum(group.rewards), len(group.rewards) - 1
    return tuple(r - (total - r) / others for r in group.rewards)


@estimator("reward", least=lambda config: ONE, signal=always)
def plain_reward(group: GroupRewards, config: AlgorithmConfig) -> tuple[float, ...]:
    """REINFORCE without a baseline (Williams 1992): the reward itself."""
    return group.rewards


@estimator("reinforce_pp", least=lambda config: ONE, signal=always, over_batch=batch_normalised)
def batch_relative(group: GroupRewards, config: AlgorithmConfig) -> tuple[float, ...]:
    """REINFORCE++ (arXiv 2501.03262): the reward, normalised over all traces of the batch.

    A group whose traces are all good, or all bad, has signal, too; one trace of each problem will do.
    """
    return group.rewards


@estimator("reinforce_pp_baseline", over_batch=batch_normalised)
def batch_relative_to_group(group: GroupRewards, config: AlgorithmConfig) -> tuple[float, ...]:
    """REINFORCE++ with baseline (arXiv 2501.03262): the reward less its group's mean, normalised over the batch."""
    mean = math.fsum(group.rewards) / len(group.rewards)
    return tuple(r - mean for r in group.rewards)


@estimator("opo")
def optimal_baseline(group: GroupRewards, config: AlgorithmConfig) -> tuple[float, ...]:
    """OPO (arXiv 2505.23585): the reward less the mean reward weighted by length.

    It is the baseline of the lowest variance where a trace's squared gradient grows as its length. The advantages
    weighted by length sum to zero.
    """
    weighted = math.fsum(r * length for r, length in zip(group.rewards, group.lengths, strict=True))
    baseline = weighted / sum(group.lengths)
    return tuple(r - baseline for r in group.rewards)


@estimator("gdpo", signal=components_differ, over_batch=batch_normalised, components=True)
def decoupled(group: GroupRewards, config: AlgorithmConfig) -> tuple[float, ...]:
    """GDPO (arXiv 2601.05242): each part of the reward normalised in the group on its own, then summed with
    ``component_weights`` (1 where a part has none), then normalised over the batch.

    The reward itself is not read. A part that spreads by no more than ``min_std`` adds nothing.
    """
    terms = [
        [config.component_weights.get(name, 1.0) * value for value in normalised(values, config)]
        for name, values in group.components.items()
        if spread(values, config.advantage_std) > config.min_std
    ]
    return tuple(math.fsum(parts) for parts in zip(*terms, strict=True))


@estimator(
    "best_of", least=lambda config: Least(config.best_of + 1, f"with best_of={config.best_of} compares sets of traces")
)
def best_of_k(group: GroupRewards, config: AlgorithmConfig) -> tuple[float, ...]:
    """Pass@k training with analytic advantages (arXiv 2508.10751), where a set of k = ``best_of`` traces earns its
    best reward: the mean over all sets that hold the trace, less the mean over all sets, divided as under ``grpo`` by
    the standard deviation over all sets.

    For rewards of 0 and 1 it is the paper's formula. k = 1 is ``grpo`` with the population's deviation.
    """
    count, k = len(group.rewards), config.best_of
    order = sorted(range(count), key=lambda i: group.rewards[i])
    top = group.rewards[order[-1]]
    below = [group.rewards[i] - top for i in order]  # exactly 0 at the top, so that equal sets leave no rounding error
    sets = [math.comb(rank, k - 1) for rank in range(count)]  # those whose best trace has this rank
    mean = math.fsum(map(float.__mul__, below, map(float, sets))) / math.comb(count, k)
    squares = math.fsum(number * (best - mean) ** 2 for number, best in zip(sets, below, strict=True))
    std = math.sqrt(squares / math.comb(count, k))
    if std <= config.min_std:
        return (0.0,) * count
    # Sets with the trace and one better: the best has rank m, the other k - 2 are any of the m - 1 below it.
    shared = [0.0 if k == 1 else math.comb(m - 1, k - 2) * below[m] for m in range(1, count)]
    advantages = [0.0] * count
    for rank, index in enumerate(order):
        inside = math.fsum([sets[rank] * below[rank], *shared[rank:]]) / math.comb(count - 1, k - 1)
        advantages[index] = (inside - mean) / divisor(std, config)
    return tuple(advantages)
