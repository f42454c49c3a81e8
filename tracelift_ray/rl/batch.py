"""From groups with advantages to what the learner trains on.

Pure: one ``TrainSample`` for each unmasked trace, with the token ids and behaviour log-probs that the engine emitted.
Groups without signal carry no gradient but count in the normalisers.
"""

from __future__ import annotations

from collections.abc import Sequence

from tracelift_ray.types import ScoredGroup, TrainBatch, TrainSample, Trajectory


def train_batch(
    groups: Sequence[ScoredGroup], zero_signal: Sequence[ScoredGroup] = (), *, train_overlong: bool
) -> TrainBatch:
    """The learner's batch: samples of ``groups``, normalisers over ``groups`` and ``zero_signal``.

    With ``train_overlong`` False, completions that the length limit cut are left out of the loss and of its
    normalisers.
    """
    samples: list[TrainSample] = []
    sizes: list[int] = []  # traces of each group that count
    num_tokens = 0
    for scored in (*groups, *zero_signal):
        counted = [
            (trajectory, advantage)
            for trajectory, advantage in zip(scored.group.trajectories, scored.advantages, strict=True)
            if advantage is not None and _in_loss(trajectory, train_overlong)
        ]
        tokens = sum(len(trajectory.trace.completion.token_ids) for trajectory, _ in counted)
        if len(sizes) < len(groups):
            samples += [_sample(trajectory, advantage, tokens) for trajectory, advantage in counted]
        sizes.append(len(counted))
        num_tokens += tokens
    return TrainBatch(tuple(samples), sum(sizes), num_tokens, sum(size > 0 for size in sizes))


def _in_loss(trajectory: Trajectory, train_overlong: bool) -> bool:
    return trajectory.masked is None and (train_overlong or trajectory.trace.completion.finish_reason == "stop")


def _sample(trajectory: Trajectory, advantage: float, group_tokens: int) -> TrainSample:
    completion = trajectory.trace.completion
    if completion.logprobs is None:
        raise ValueError("a planner completion has no behaviour log-probs; its engine must be asked for them")
    return TrainSample(trajectory.trace.prompt_ids, completion.token_ids, completion.logprobs, advantage, group_tokens)
