"""From the groups of one step to flat metrics: rewards, successes, rubric, and how old the traces were.

Pure. A metric without anything to average is absent, never zero; masked traces count only under ``stream/masked*``.
Every reward, system and rubric metric comes for the whole batch (``reward/mean``) and for each task that occurs in it
(``reward/math/mean``).
"""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import get_args

from tracelift_ray.tasks.table import TASKS, chance_level, task_of
from tracelift_ray.types import Execution, Group, Malformed, Outcome, ScoredGroup, Trajectory

#: Metrics before those without anything to average (None) are left out.
Values = dict[str, float | None]


def batch_metrics(scored: Sequence[ScoredGroup], learner_version: int) -> dict[str, float]:
    """Flat metrics of the groups that one learner step consumed.

    Args:
        scored: the step's groups, those without signal included.
        learner_version: the learner's policy version before its update; staleness counts from it.

    Returns:
        Names to finite numbers; rates and shares lie in [0, 1], uplift in [-1, 1], rubric labels in [0, 4].
    """
    values = _stream([each.group for each in scored], learner_version) | _figures(scored, None)
    for task in TASKS:
        own = [each for each in scored if each.group.problem.task == task]
        if own:
            values |= {name.replace("/", f"/{task}/", 1): value for name, value in _figures(own, task).items()}
    return {name: float(value) for name, value in values.items() if value is not None}


def cause_name(masked: str) -> str:
    """A bounded metric name for why a trace is masked: the words before the first colon, such as ``executor``."""
    return re.sub(r"\W+", "_", masked.split(":", 1)[0].strip().lower())[:40] or "unknown"


def _stream(groups: Sequence[Group], learner_version: int) -> Values:
    trajectories = [t for group in groups for t in group.trajectories]
    ages = [learner_version - t.trace.completion.oldest_version for t in trajectories if t.masked is None]
    causes = Counter(cause_name(t.masked) for t in trajectories if t.masked is not None)
    return {
        "stream/groups": len(groups),
        "stream/traces": len(ages),
        "stream/masked": _mean(t.masked is not None for t in trajectories),
        "stream/staleness_mean": _mean(ages),
        "stream/staleness_max": max(ages, default=None),
        **{f"stream/masked_{name}": count / len(trajectories) for name, count in causes.items()},
    }


def _figures(scored: Sequence[ScoredGroup], task: str | None) -> Values:
    """Reward, system and rubric of some groups; ``task`` where all are of one."""
    groups = [each.group for each in scored]
    traces = [t for group in groups for t in group.trajectories if t.masked is None]
    # The share of groups that move the policy.
    signal: Values = {"reward/signal": _mean(each.has_signal for each in scored)}
    return signal | _reward(groups, traces) | _system(groups, traces) | _rubric(traces, task)


def _reward(groups: Sequence[Group], traces: Sequence[Trajectory]) -> Values:
    rewards = [t.reward for t in traces if t.reward is not None]
    return {
        "reward/mean": _mean(rewards),
        "reward/std": statistics.pstdev(rewards) if rewards else None,
        "reward/min": min(rewards, default=None),
        "reward/max": max(rewards, default=None),
        # The two corners of the grounded reward: a better RM score lowers it, or does nothing.
        "reward/negative_uplift": _mean(t.uplift < 0 for t in traces if t.uplift is not None),
        "reward/full_baseline": _mean(g.baseline.rate == 1.0 for g in groups if g.baseline),
    }


def _system(groups: Sequence[Group], traces: Sequence[Trajectory]) -> Values:
    outcomes = [e.verdict.outcome for t in traces for e in _executions(t)]
    successes = (_success(t) for t in traces) if outcomes else ()
    malformed = [t.trace.malformed for t in traces]
    return {
        "system/success": _mean(s for s in successes if s is not None),
        "system/chance": chance_level(g.problem for g in groups),
        "system/baseline": _mean(g.baseline.rate for g in groups if g.baseline),
        "system/uplift": _mean(t.uplift for t in traces if t.uplift is not None),
        "system/leak": _mean(t.leaked for t in traces),
        "system/malformed": _mean(kind is not None for kind in malformed),
        "system/length_cut": _mean(t.trace.completion.finish_reason == "length" for t in traces),
        "system/trace_tokens": _mean(len(t.trace.completion.token_ids) for t in traces),
        "system/trace_chars": _mean(len(t.trace.reasoning) for t in traces if t.trace.reasoning is not None),
        **{f"system/malformed_{kind}": _mean(each == kind for each in malformed) for kind in get_args(Malformed)},
        **{f"system/outcome_{name}": _mean(each == name for each in outcomes) for name in get_args(Outcome)},
    }


def _executions(trajectory: Trajectory) -> tuple[Execution, ...]:
    """Every executor sample with the trace, the fresh one included: all are draws from the same distribution."""
    return trajectory.executions + ((trajectory.fresh,) if trajectory.fresh is not None else ())


def _success(trajectory: Trajectory) -> float | None:
    """Mean success with the trace; a malformed trace that was never executed solved nothing, which is 0."""
    executions = _executions(trajectory)
    if not executions and trajectory.trace.malformed is not None:
        return 0.0
    return _mean(e.verdict.success for e in executions)


def _rubric(traces: Sequence[Trajectory], task: str | None) -> Values:
    """Means of the rubric; by dimension only within one task, whose dimensions are its own."""
    rubrics = [t.rubric for t in traces if t.rubric is not None]
    dimensions = () if task is None else task_of(task).dimensions
    return {
        "rubric/score": _mean(r.score for r in rubrics),
        "rubric/total": _mean(r.total for r in rubrics),
        "rubric/truncated": _mean(r.truncated for r in rubrics),
        **{f"rubric/{name}": _mean(r.labels[i] for r in rubrics if r.labels) for i, name in enumerate(dimensions)},
    }


def _mean(values: Iterable[float]) -> float | None:
    items = list(values)
    return sum(items) / len(items) if items else None
