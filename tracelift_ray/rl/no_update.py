"""Why a step left the policy as it was, for the person who watches."""

from __future__ import annotations

from collections.abc import Mapping

from tracelift_ray.rl.scheduler import GroupBatch


def why_not_updated(batch: GroupBatch, metrics: Mapping[str, float]) -> str:
    """What a step that held nothing to train on most likely comes from."""
    if batch.groups:
        return "the length limit cut every trace of the groups with signal, and reward.overlong=mask leaves those out"
    malformed = metrics.get("system/malformed", 0.0)
    if malformed > 0.5:
        cure = "a warm start teaches a planner to close its tag"
        return f"no group had signal: {malformed:.0%} of the traces are malformed ({cure})"
    if metrics.get("system/success") == 0.0:
        return "no group had signal: the executor solved nothing; easier problems, or a stronger one, would give signal"
    return "no group had signal; stream.max_refills draws other groups in place of such ones"
