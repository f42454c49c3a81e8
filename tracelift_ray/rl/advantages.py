"""Advantages: how much better a trace did than the others of its group.

An estimator is one function in ``ESTIMATORS``, named by ``algorithm.advantage``. Whether a group has signal is decided
here, once, for every estimator: the rewards of its unmasked traces spread by more than ``algorithm.min_std``, and some
advantage is not zero. A group without signal has advantages of zero, so it costs no forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tracelift_ray.config.schema import AlgorithmConfig
from tracelift_ray.types import Group, ScoredGroup


@dataclass(frozen=True)
class GroupRewards:
    """The unmasked traces of one group as an estimator sees them.

    Attributes:
        rewards: one finite number for each trace; they spread by more than ``min_std``.
        lengths: completion tokens of each trace.
    """

    rewards: tuple[float, ...]
    lengths: tuple[int, ...]

    @property
    def mean(self) -> float:
        """The mean reward."""
        return math.fsum(self.rewards) / len(self.rewards)


#: The advantages of the traces of one group, in their order.
Advantages = Callable[[GroupRewards, AlgorithmConfig], tuple[float, ...]]


@dataclass(frozen=True)
class Estimator:
    """An entry of ``ESTIMATORS``: a group of fewer than ``least_group_size`` traces tells it nothing."""

    advantages: Advantages
    least_group_size: int


ESTIMATORS: dict[str, Estimator] = {}


def estimator(name: str, *, least_group_size: int = 2) -> Callable[[Advantages], Advantages]:
    """Register a function under a name for ``algorithm.advantage``."""

    def register(function: Advantages) -> Advantages:
        ESTIMATORS[name] = Estimator(function, least_group_size)
        return function

    return register


@estimator("grpo")
def group_relative(group: GroupRewards, config: AlgorithmConfig) -> tuple[float, ...]:
    """GRPO (arXiv 2402.03300): ``(r - mean) / max(std + advantage_eps, std_floor)``.

    With ``advantage_std: none`` the divisor is 1 (Dr.GRPO, arXiv 2503.20783).
    """
    centred = tuple(r - group.mean for r in group.rewards)
    if config.advantage_std == "none":
        return centred
    divisor = max(reward_std(group.rewards, config.advantage_std) + config.advantage_eps, config.std_floor)
    return tuple(value / divisor for value in centred)


@estimator("rloo")
def leave_one_out(group: GroupRewards, config: AlgorithmConfig) -> tuple[float, ...]:
    """RLOO (Ahmadian et al. 2024, arXiv 2402.14740): the reward less the mean reward of the other traces.

    The baseline of a trace does not depend on the trace itself, so the gradient is unbiased.
    """
    total, others = math.fsum(group.rewards), len(group.rewards) - 1
    return tuple(r - (total - r) / others for r in group.rewards)


def score_group(group: Group, config: AlgorithmConfig) -> ScoredGroup:
    """``group`` with the advantage of each trajectory (None for masked ones), and whether it has signal.

    Raises:
        ValueError: no trace is unmasked, or a reward is not finite.
    """
    kept = [t for t in group.trajectories if t.masked is None and t.reward is not None]
    rewards = GroupRewards(
        tuple(t.reward for t in kept if t.reward is not None),
        tuple(len(t.trace.completion.token_ids) for t in kept),
    )
    values = group_advantages(rewards, config)
    remaining = iter(values)
    advantages = tuple(None if t.masked is not None else next(remaining) for t in group.trajectories)
    return ScoredGroup(group, advantages, any(values))


def group_advantages(group: GroupRewards, config: AlgorithmConfig) -> tuple[float, ...]:
    """The estimator's advantages; all zero where the group has no signal."""
    chosen = ESTIMATORS[config.advantage]
    spread = reward_std(group.rewards, config.advantage_std)
    if len(group.rewards) < chosen.least_group_size or spread <= config.min_std:
        return (0.0,) * len(group.rewards)
    return chosen.advantages(group, config)


def reward_std(rewards: Sequence[float], kind: str) -> float:
    """Standard deviation of a group's rewards; exactly 0 where all are equal or there is only one.

    ``kind`` is ``sample`` (divides by n - 1), or ``population`` or ``none`` (by n): under ``none`` advantages are not
    divided by it, but it still decides whether there is signal.

    Raises:
        ValueError: no rewards, or one that is not finite.
    """
    if not rewards:
        raise ValueError("a group without rewards has no advantages; leave such groups out")
    if not all(math.isfinite(r) for r in rewards):
        raise ValueError(f"rewards must be finite numbers, got {list(rewards)}")
    if min(rewards) == max(rewards):
        return 0.0
    mean = math.fsum(rewards) / len(rewards)
    squares = math.fsum((r - mean) ** 2 for r in rewards)
    return math.sqrt(squares / (len(rewards) - (kind == "sample")))
