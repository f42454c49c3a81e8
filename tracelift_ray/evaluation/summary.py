"""The figures of an evaluation during training, by task: what the planner is worth to the frozen executor.

Pure. A malformed trace is never executed and solves nothing. A problem that an infrastructure error left without a
result counts nowhere except under ``masked``. What cannot be averaged is absent, never zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tracelift_ray.evaluation.results import ProblemResult
from tracelift_ray.tasks.table import TASKS, chance_level
from tracelift_ray.types import Problem


@dataclass(frozen=True)
class TaskSummary:
    """The figures of one task; rates in [0, 1], uplift in [-1, 1]; None where nothing could be averaged.

    Attributes:
        problems: asked for, those without a result included.
        accuracy: mean over problems of the success rate with the trace.
        accuracy_stderr: standard error of that mean over problems; None for fewer than two.
        baseline: mean success rate without a trace.
        chance: mean success rate of a guess; None where a guess has none.
        uplift: mean of accuracy minus baseline over the problems that have both.
        rm_score: mean reasoning-RM score of the traces that were scored.
        leak: share of traces that state the reference answer.
        malformed, length_cut: shares of traces.
        trace_tokens: mean length of the planner's completion.
        masked: share of problems without a result, because of infrastructure errors.
        checks: rate of each further trace check; a malformed trace fails all of them.
    """

    problems: int
    accuracy: float | None
    accuracy_stderr: float | None
    baseline: float | None
    chance: float | None
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

    tasks: Mapping[str, TaskSummary]

    def metrics(self) -> dict[str, float]:
        """Flat metrics ``evaluation/{task}/{name}``."""
        return {
            f"evaluation/{task}/{name}": value
            for task, summary in self.tasks.items()
            for name, value in summary.metrics().items()
        }


def summarise(problems: Sequence[Problem], results: Sequence[ProblemResult]) -> EvaluationSummary:
    """The figures of an evaluation of ``problems``, of which ``results`` has those that there are."""
    asked = {task: sum(problem.task == task for problem in problems) for task in TASKS}
    found = {task: [result for result in results if result.task == task] for task in asked}
    chances = {task: chance_level([problem for problem in problems if problem.task == task]) for task in TASKS}
    return EvaluationSummary(
        {task: _summarise(count, found[task], chances[task]) for task, count in asked.items() if count}
    )


def _mean(values: Iterable[float | None]) -> float | None:
    items = [value for value in values if value is not None]
    return sum(items) / len(items) if items else None


def _stderr(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return math.sqrt(variance / len(values))


def _summarise(problems: int, results: Sequence[ProblemResult], chance: float | None) -> TaskSummary:
    traces = [trace for result in results for trace in result.traces]
    names = sorted({name for trace in traces for name in trace.checks})
    rates = {name: _mean(trace.checks.get(name, False) for trace in traces) for name in names}
    accuracies = [sum(result.successes) / len(result.successes) for result in results]
    baselines = [sum(result.baseline_successes) / len(result.baseline_successes) for result in results]
    return TaskSummary(
        problems=problems,
        accuracy=_mean(accuracies),
        accuracy_stderr=_stderr(accuracies),
        baseline=_mean(baselines),
        chance=chance,
        uplift=_mean(result.uplift for result in results),
        rm_score=_mean(trace.rm_score for trace in traces),
        leak=_mean(trace.leaked for trace in traces),
        malformed=_mean(trace.malformed is not None for trace in traces),
        length_cut=_mean(trace.length_cut for trace in traces),
        trace_tokens=_mean(trace.tokens for trace in traces),
        masked=1 - len(results) / problems,
        checks={name: rate for name, rate in rates.items() if rate is not None},
    )
