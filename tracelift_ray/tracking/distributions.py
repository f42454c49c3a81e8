"""What histograms show of one step: how rewards, uplifts, ages and lengths of its traces are spread."""

from __future__ import annotations

from collections.abc import Sequence

from tracelift_ray.types import ScoredGroup


def distributions(groups: Sequence[ScoredGroup], version: int) -> dict[str, list[float]]:
    """Values by metric name, one for each trace that has one; a metric without any is absent.

    ``staleness`` is in versions, between ``version``, the weights that the step trained, and the oldest that wrote the
    trace; its mean is ``stream/staleness_mean``.
    """
    traces = [trajectory for scored in groups for trajectory in scored.group.trajectories]
    found: dict[str, list[float]] = {
        "reward": [trace.reward for trace in traces if trace.reward is not None],
        "uplift": [trace.uplift for trace in traces if trace.uplift is not None],
        "rubric_score": [trace.rubric.score for trace in traces if trace.rubric is not None],
        "advantage": [each for scored in groups for each in scored.advantages if each is not None],
        "trace_tokens": [float(len(trace.trace.completion.token_ids)) for trace in traces],
        "staleness": [float(version - each.trace.completion.oldest_version) for each in traces if each.masked is None],
    }
    return {f"distribution/{name}": values for name, values in found.items() if values}
