"""Group advantages: how much better a trace did than its group.

Promises: advantages of one group sum to zero (to rounding), do not depend on the order of the traces, and are all zero
exactly where ``has_signal`` is false, so that a group without signal can be filtered before it costs a forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tracelift_ray.config.schema import AlgorithmConfig


def reward_std(rewards: Sequence[float], kind: str) -> float:
    """Standard deviation of a group's rewards; exactly 0 where all are equal or there is only one.

    ``kind`` is ``population`` (divides by n), ``sample`` (by n - 1) or ``none``, which is measured like
    ``population``: advantages are then not divided by it, but it still decides whether there is signal.
    """
    if kind not in ("population", "sample", "none"):
        raise ValueError(f"algorithm.advantage_std is {kind!r}; it must be population, sample or none")
    if not rewards:
        raise ValueError("a group without rewards has no advantages; leave such groups out")
    if not all(math.isfinite(r) for r in rewards):
        raise ValueError(f"rewards must be finite numbers, got {list(rewards)}")
    if min(rewards) == max(rewards):
        return 0.0
    mean = math.fsum(rewards) / len(rewards)
    squares = math.fsum((r - mean) ** 2 for r in rewards)
    return math.sqrt(squares / (len(rewards) - (kind == "sample")))


def has_signal(rewards: Sequence[float], config: AlgorithmConfig) -> bool:
    """Whether the group says anything: the standard deviation of its rewards lies above ``min_std``."""
    return reward_std(rewards, config.advantage_std) > config.min_std


def group_advantages(rewards: Sequence[float], config: AlgorithmConfig) -> tuple[float, ...]:
    """Advantages ``(r - mean) / max(std + eps, std_floor)`` of the unmasked traces of one group, in their order.

    With ``advantage_std: none`` the divisor is 1 (Dr.GRPO, arXiv 2503.20783). All zero where there is no signal.

    Args:
        rewards: one finite number per unmasked trace.
        config: reads ``advantage_std``, ``advantage_eps``, ``min_std`` and ``std_floor``.
    Raises:
        ValueError: no rewards, or one that is not finite.
    """
    if not has_signal(rewards, config):
        return (0.0,) * len(rewards)
    mean = math.fsum(rewards) / len(rewards)
    if config.advantage_std == "none":
        return tuple(r - mean for r in rewards)
    divisor = max(reward_std(rewards, config.advantage_std) + config.advantage_eps, config.std_floor)
    return tuple((r - mean) / divisor for r in rewards)
