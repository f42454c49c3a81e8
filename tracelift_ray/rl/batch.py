"""From finished groups to what the learner trains on.

Pure: advantages by group, and one ``TrainSample`` for each unmasked trace with the token ids and behaviour log-probs
that the engine emitted. Groups without signal carry no gradient but count in the normalisers.
"""

from __future__ import annotations

from collections.abc import Sequence

from tracelift_ray.config.schema import AlgorithmConfig
from tracelift_ray.rl.advantages import group_advantages
from tracelift_ray.types import Group, TrainBatch, TrainSample, Trajectory


def advantages_of(group: Group, config: AlgorithmConfig) -> tuple[float | None, ...]:
    """The advantage of each trajectory, None for masked ones; all zero where the group has no signal."""
    rewards = [t.reward for t in group.trajectories if t.masked is None and t.reward is not None]
    values = iter(group_advantages(rewards, config))
    return tuple(None if t.masked is not None else next(values) for t in group.trajectories)


def has_signal(advantages: Sequence[float | None]) -> bool:
    """Whether any trace would move the policy."""
    return any(advantages)


def train_batch(
    groups: Sequence[Group],
    advantages: Sequence[Sequence[float | None]],
    silent: Sequence[Group] = (),
    *,
    train_overlong: bool,
) -> TrainBatch:
    """The learner's batch: samples of ``groups``, normalisers over ``groups`` and ``silent``.

    ``advantages`` holds those of each trajectory of ``groups``. With ``train_overlong`` False, completions that the
    length limit cut are left out of the loss and of its normalisers.
    """
    samples: list[TrainSample] = []
    for group, values in zip(groups, advantages, strict=True):
        for trajectory, advantage in zip(group.trajectories, values, strict=True):
            if advantage is not None and _in_loss(trajectory, train_overlong):
                samples.append(_sample(trajectory, advantage))
    unmoved = [t for group in silent for t in group.trajectories if _in_loss(t, train_overlong)]
    num_tokens = sum(len(s.completion_ids) for s in samples) + sum(len(t.trace.completion.token_ids) for t in unmoved)
    return TrainBatch(tuple(samples), len(samples) + len(unmoved), num_tokens)


def _in_loss(trajectory: Trajectory, train_overlong: bool) -> bool:
    return trajectory.masked is None and (train_overlong or trajectory.trace.completion.finish_reason == "stop")


def _sample(trajectory: Trajectory, advantage: float) -> TrainSample:
    completion = trajectory.trace.completion
    if completion.logprobs is None:
        raise ValueError("a planner completion has no behaviour log-probs; its engine must be asked for them")
    return TrainSample(trajectory.trace.prompt_ids, completion.token_ids, completion.logprobs, advantage)
