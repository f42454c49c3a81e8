"""What an arm of the reward has to be given, so that the stream asks for no sample and no score in vain."""

from __future__ import annotations

from dataclasses import dataclass

from tracelift_ray.config.schema import RewardConfig


@dataclass(frozen=True)
class RewardNeeds:
    """What the reward of one trace is made of.

    Attributes:
        with_trace: executor samples with the trace (K, or 0).
        fresh: one more sample with the trace, apart from those.
        baseline: executor samples without the trace, per group or per problem.
        rubric: the reasoning RM's score.
    """

    with_trace: int
    fresh: bool
    baseline: int
    rubric: bool

    @property
    def samples(self) -> int:
        """Executor samples with the trace in all; they come from one request."""
        return self.with_trace + int(self.fresh)


def reward_needs(config: RewardConfig) -> RewardNeeds:
    """The needs of ``config.arm``. Raises ValueError for an unknown arm, e2e or baseline."""
    if config.e2e not in ("fresh", "mean"):
        raise ValueError(f"reward.e2e={config.e2e!r}: fresh or mean")
    if config.baseline not in ("per_group", "cached"):
        raise ValueError(f"reward.baseline={config.baseline!r}: per_group or cached")
    fresh = config.e2e == "fresh"
    baseline = config.num_samples if config.baseline == "per_group" else config.cached_samples
    if config.arm == "tracelift":
        return RewardNeeds(config.num_samples, fresh, baseline, rubric=True)
    if config.arm == "uplift_only":
        return RewardNeeds(config.num_samples, fresh, baseline, rubric=False)
    if config.arm == "exec_only":
        return RewardNeeds(0 if fresh else config.num_samples, fresh, 0, rubric=False)
    if config.arm == "rm_only":
        return RewardNeeds(0, False, 0, rubric=True)
    raise ValueError(f"reward.arm={config.arm!r}: tracelift, exec_only, rm_only or uplift_only")
