"""What the traces of groups are worth to the learner, and which groups have signal.

Whether a group has signal is decided here, once, when the scheduler takes it: it has as many unmasked traces as the
estimator needs, they differ by more than ``algorithm.min_std`` in what the estimator reads of them, and some advantage
is not zero (a second step over the batch may still give one to a group that counts always). A group without signal has
advantages of zero, so it costs no forward pass. Promise: advantages depend on the groups of a batch alone, not on their
order nor on ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tracelift_ray.config.schema import AlgorithmConfig
from tracelift_ray.rl.advantages import ESTIMATORS, GroupRewards
from tracelift_ray.types import Group, ScoredGroup, Trajectory

#: The part of the reward that ``overlong_penalty`` is.
LENGTH = "length"


def score_group(group: Group, config: AlgorithmConfig) -> ScoredGroup:
    """``group`` with the advantage of each trajectory (None for masked ones), and whether it has signal.

    Raises:
        ValueError: no trace is unmasked, or a reward is not finite.
    """
    kept = [t for t in group.trajectories if t.masked is None and t.reward is not None]
    values, has_signal = group_advantages(_rewards(kept, config), config)
    remaining = iter(values)
    advantages = tuple(None if t.masked is not None else next(remaining) for t in group.trajectories)
    return ScoredGroup(group, advantages, has_signal)


def group_advantages(group: GroupRewards, config: AlgorithmConfig) -> tuple[tuple[float, ...], bool]:
    """The estimator's advantages and whether the group has signal; all zero where it has none."""
    chosen = ESTIMATORS[config.advantage]
    if len(group.rewards) < chosen.least(config).traces or not chosen.signal(group, config):
        return (0.0,) * len(group.rewards), False
    values = chosen.advantages(group, config)
    return values, chosen.over_batch is not None or any(values)


def score_batch(
    groups: Sequence[ScoredGroup], zero_signal: Sequence[ScoredGroup], config: AlgorithmConfig
) -> tuple[ScoredGroup, ...]:
    """``groups`` with the advantages that the learner is given: the estimator's second step, where it has one.

    Args:
        groups: those with signal.
        zero_signal: those without that are part of the batch; they count in its mean and spread, and stay as they are.

    Returns:
        As many groups; none has signal where no advantage is left.
    """
    over_batch = ESTIMATORS[config.advantage].over_batch
    if over_batch is None or not groups:
        return tuple(groups)
    values = [a for scored in (*groups, *zero_signal) for a in scored.advantages if a is not None]
    final = iter(over_batch(values, config))
    scored = [replace(g, advantages=tuple(None if a is None else next(final) for a in g.advantages)) for g in groups]
    moves = any(advantage for g in scored for advantage in g.advantages)
    return tuple(replace(g, has_signal=moves) for g in scored)


def length_penalty(tokens: int, config: AlgorithmConfig) -> float:
    """DAPO's soft penalty of long completions (arXiv 2503.14476), from 0 to ``overlong_penalty``.

    It grows evenly over the last ``overlong_buffer`` (a share) of ``length_limit`` tokens.
    """
    buffer = config.overlong_buffer * config.length_limit
    over = tokens - (config.length_limit - buffer)
    return config.overlong_penalty * min(over / buffer, 1.0) if buffer > 0 and over > 0 else 0.0


def _rewards(kept: Sequence[Trajectory], config: AlgorithmConfig) -> GroupRewards:
    """What the estimator reads of some unmasked traces; the penalty of long ones is a part of the reward."""
    lengths = tuple(len(t.trace.completion.token_ids) for t in kept)
    names = kept[0].components if kept else {}
    components = {name: tuple(t.components[name] for t in kept) for name in names}
    rewards = tuple(t.reward for t in kept if t.reward is not None)
    if config.overlong_penalty > 0:
        penalties = tuple(length_penalty(length, config) for length in lengths)
        rewards = tuple(r - penalty for r, penalty in zip(rewards, penalties, strict=True))
        components[LENGTH] = tuple(-penalty for penalty in penalties)
    return GroupRewards(rewards, lengths, components)
