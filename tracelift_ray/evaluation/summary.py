"""System accuracy from executed held-out problems: what the planner is worth to the frozen executor.

Pure. A planner's greedy trace goes to the executor, K samples are verified, and the same executor without a trace is
the yardstick. A malformed trace is never executed and solves nothing: it counts as 0 of K. A trace that an
infrastructure error masked counts nowhere except under ``masked``. What cannot be averaged is absent, never zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

from tracelift_ray.types import Baseline, Problem, Task, Trajectory

#: Further checks of a trace's reasoning text, by the name of the metric that their rate becomes.
TraceChecks = Mapping[str, Callable[[Problem, str], bool]]


@dataclass(frozen=True)
class EvaluationRecord:
    """One held-out problem, its greedy trace with K executor samples, and the executor without a trace.

    ``trajectory`` is None where the planner gave no trace, and ``baseline`` None where the executor gave no result.
    """

    problem: Problem
    trajectory: Trajectory | None
    baseline: Baseline | None

    @property
    def accuracy(self) -> float | None:
        """Share of the K samples that passed, 0 for a malformed trace; None where the trace is masked."""
        trajectory = self.trajectory
        if trajectory is None or trajectory.masked is not None:
            return None
        if not trajectory.executions:
            return 0.0 if trajectory.trace.malformed is not None else None
        return sum(e.verdict.success for e in trajectory.executions) / len(trajectory.executions)

    @property
    def uplift(self) -> float | None:
        """Accuracy minus baseline in [-1, 1]; None where either is missing."""
        if self.accuracy is None or self.baseline is None:
            return None
        return self.accuracy - self.baseline.rate


@dataclass(frozen=True)
class TaskSummary:
    """The figures of one task; rates in [0, 1], uplift in [-1, 1]; None where nothing could be averaged.

    Attributes:
        problems: records, masked ones included.
        accuracy: mean over problems of the success rate with the trace.
        accuracy_stderr: standard error of that mean over problems; None for fewer than two.
        baseline: mean success rate without a trace.
        uplift: mean of accuracy minus baseline over the problems that have both.
        rm_score: mean reasoning-RM score of the traces that were scored.
        leak: share of traces that state the reference answer.
        malformed, length_cut: shares of traces.
        trace_tokens: mean length of the planner's completion.
        masked: share of records without a result.
        checks: rate of each further trace check; a malformed trace fails all of them.
    """

    problems: int
    accuracy: float | None
    accuracy_stderr: float | None
    baseline: float | None
    uplift: float | None
    rm_score: float | None
    leak: float | None
    malformed: float | None
    length_cut: float | None
    trace_tokens: float | None
    masked: float
    checks: Mapping[str, float] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """Names to numbers, absent where there is nothing."""
        values = {name: value for name, value in vars(self).items() if name != "checks" and value is not None}
        return {name: float(value) for name, value in values.items()} | dict(self.checks)


@dataclass(frozen=True)
class EvaluationSummary:
    """One evaluation, by task."""

    tasks: Mapping[Task, TaskSummary]

    def metrics(self) -> dict[str, float]:
        """Flat metrics ``evaluation/{task}/{name}``."""
        return {
            f"evaluation/{task}/{name}": value
            for task, summary in self.tasks.items()
            for name, value in summary.metrics().items()
        }


def summarise(records: Sequence[EvaluationRecord], trace_checks: TraceChecks | None = None) -> EvaluationSummary:
    """The figures of an evaluation.

    Args:
        records: one for each held-out problem.
        trace_checks: further rates of the reasoning text, such as whether a trace of the demo world is valid.
    """
    by_task = {task: [r for r in records if r.problem.task == task] for task in get_args(Task)}
    return EvaluationSummary({task: _summarise(own, trace_checks or {}) for task, own in by_task.items() if own})


def _mean(values: Iterable[float | None]) -> float | None:
    items = [value for value in values if value is not None]
    return sum(items) / len(items) if items else None


def _stderr(values: Iterable[float | None]) -> float | None:
    items = [value for value in values if value is not None]
    if len(items) < 2:
        return None
    mean = sum(items) / len(items)
    variance = sum((value - mean) ** 2 for value in items) / (len(items) - 1)
    return math.sqrt(variance / len(items))


def _summarise(records: Sequence[EvaluationRecord], checks: TraceChecks) -> TaskSummary:
    kept = [(r.problem, r.trajectory) for r in records if r.trajectory is not None and r.trajectory.masked is None]
    traces = [trajectory.trace for _, trajectory in kept]
    rates = {
        name: _mean(t.trace.reasoning is not None and check(problem, t.trace.reasoning) for problem, t in kept)
        for name, check in checks.items()
    }
    return TaskSummary(
        problems=len(records),
        accuracy=_mean(r.accuracy for r in records),
        accuracy_stderr=_stderr(r.accuracy for r in records),
        baseline=_mean(None if r.baseline is None else r.baseline.rate for r in records),
        uplift=_mean(r.uplift for r in records),
        rm_score=_mean(None if t.rubric is None else t.rubric.score for _, t in kept),
        leak=_mean(t.leaked for _, t in kept),
        malformed=_mean(t.malformed is not None for t in traces),
        length_cut=_mean(t.completion.finish_reason == "length" for t in traces),
        trace_tokens=_mean(len(t.completion.token_ids) for t in traces),
        masked=1 - len(kept) / len(records),
        checks={name: rate for name, rate in rates.items() if rate is not None},
    )
