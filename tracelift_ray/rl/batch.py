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
    samples = [
        _sample(trajectory, advantage)
        for scored in groups
        for trajectory, advantage in zip(scored.group.trajectories, scored.advantages, strict=True)
        if advantage is not None and _in_loss(trajectory, train_overlong)
    ]
    unmoved = [t for scored in zero_signal for t in scored.group.trajectories if _in_loss(t, train_overlong)]
    num_tokens = sum(len(s.completion_ids) for s in samples) + sum(len(t.trace.completion.token_ids) for t in unmoved)
    return TrainBatch(tuple(samples), len(samples) + len(unmoved), num_tokens)


def _in_loss(trajectory: Trajectory, train_overlong: bool) -> bool:
    return trajectory.masked is None and (train_overlong or trajectory.trace.completion.finish_reason == "stop")


def _sample(trajectory: Trajectory, advantage: float) -> TrainSample:
    completion = trajectory.trace.completion
    if completion.logprobs is None:
        raise ValueError("a planner completion has no behaviour log-probs; its engine must be asked for them")
    return TrainSample(trajectory.trace.prompt_ids, completion.token_ids, completion.logprobs, advantage)
