"""The evaluation of a training run: the same held-out problems each time, under the weights now served.

A malformed trace is never executed and solves nothing. A problem that an infrastructure error left without a result
counts nowhere except under ``masked``. What cannot be averaged is absent, never zero.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from time import monotonic

from tracelift_ray.config.schema import RunConfig
from tracelift_ray.evaluation.attempts import Attempts, Manner, TraceChecks
from tracelift_ray.evaluation.results import ProblemResult, ResultsInMemory
from tracelift_ray.evaluation.run import Task, concurrency_of, evaluate_all, progress_line
from tracelift_ray.rl.system import PlannerExecutorSystem
from tracelift_ray.tasks.table import TASKS, chance_level
from tracelift_ray.types import Problem


class HeldOutEvaluation:
    """Evaluates the same held-out problems each time: ``evaluation.problems`` of each task, in their order."""

    def __init__(
        self, run: RunConfig, system: PlannerExecutorSystem, heldout: Sequence[Problem], checks: TraceChecks
    ) -> None:
        taken: Counter[str] = Counter()
        chosen = []
        for problem in heldout:
            if taken[problem.task] < run.evaluation.problems:
                taken[problem.task] += 1
                chosen.append(problem)
        self.problems = tuple(chosen)
        self._running: tuple[ResultsInMemory, float] | None = None  # results so far, and since when
        self.concurrency = concurrency_of(run.planner.pool, run.executor.pool)
        scored = system.pools.reasoning_rm is not None
        self.attempts = Attempts(system, Manner.of(run, "greedy", scored=scored, checks=checks))

    def standing(self) -> str | None:
        """Where the evaluation is that runs now, in a line; None where none does."""
        if self._running is None:
            return None
        results, since = self._running
        return f"evaluation: {progress_line(len(results.done), len(self.problems), monotonic() - since)}"

    async def __call__(self) -> dict[str, float]:
        """The metrics of one evaluation."""
        results = ResultsInMemory()
        self._running = results, monotonic()
        tasks: list[Task] = [(problem.task, problem) for problem in self.problems]
        try:
            await evaluate_all(
                tasks, self.attempts.evaluate, results, say=lambda line: None, concurrency=self.concurrency
            )
        finally:
            self._running = None
        return evaluation_metrics(self.problems, list(results.done.values()))


def evaluation_metrics(problems: Sequence[Problem], results: Sequence[ProblemResult]) -> dict[str, float]:
    """The metrics ``evaluation/{task}/{name}`` of ``problems``, of which ``results`` has those that there are.

    Rates lie in [0, 1], uplift in [-1, 1]:

    - problems: asked for, those without a result included;
    - accuracy, baseline, uplift: means over problems of the success rate with the trace, without, and their difference;
    - chance: mean success rate of a guess; absent where a guess has none;
    - rm_score: mean reasoning-RM score of the traces that were scored;
    - leak: share of traces that state the reference answer;
    - malformed, length_cut: shares of traces;
    - trace_tokens: mean length of the planner's completion;
    - masked: share of problems without a result, because of infrastructure errors;
    - the rate of each further trace check; a malformed trace fails all of them;
    - accuracy_stderr, and the same of baseline, uplift, rm_score and each check: the standard error over problems of
      each problem's mean (traces of one problem are not independent); absent for fewer than two.
    """
    metrics: dict[str, float] = {}
    for task in TASKS:
        asked = [problem for problem in problems if problem.task == task]
        if asked:
            figures = _task_figures(asked, [result for result in results if result.task == task])
            metrics |= {f"evaluation/{task}/{name}": float(v) for name, v in figures.items() if v is not None}
    return metrics


def _task_figures(problems: Sequence[Problem], results: Sequence[ProblemResult]) -> dict[str, float | None]:
    """The figures of one task by name; None where nothing could be averaged."""
    traces = [trace for result in results for trace in result.traces]
    checks = sorted({name for trace in traces for name in trace.checks})
    by_problem: dict[str, list[float | None]] = {
        "accuracy": [result.accuracy for result in results],
        "baseline": [result.baseline for result in results],
        "uplift": [result.uplift for result in results],
        "rm_score": [_mean(trace.rm_score for trace in result.traces) for result in results],
        **{
            name: [_mean(trace.checks.get(name, False) for trace in each.traces) for each in results] for name in checks
        },
    }
    return {
        "problems": len(problems),
        "accuracy": _mean(by_problem["accuracy"]),
        "baseline": _mean(by_problem["baseline"]),
        "chance": chance_level(problems),
        "uplift": _mean(by_problem["uplift"]),
        "rm_score": _mean(trace.rm_score for trace in traces),
        "leak": _mean(trace.leaked for trace in traces),
        "malformed": _mean(trace.malformed is not None for trace in traces),
        "length_cut": _mean(trace.length_cut for trace in traces),
        "trace_tokens": _mean(trace.tokens for trace in traces),
        "masked": 1 - len(results) / len(problems),
        **{name: _mean(trace.checks.get(name, False) for trace in traces) for name in checks},
        **{f"{name}_stderr": _standard_error(values) for name, values in by_problem.items()},
    }


def _standard_error(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.stdev(known) / math.sqrt(len(known)) if len(known) > 1 else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
