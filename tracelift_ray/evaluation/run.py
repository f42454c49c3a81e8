"""Runs an evaluation: greedy traces for the held-out problems, K executor samples each, and the same without a trace.

It promises that two evaluations of one run differ only in the planner: seeds come from the problem alone, and the
baseline of a problem is sampled once and kept, since the executor is frozen. An infrastructure error masks its problem.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from tracelift_ray.evaluation.summary import EvaluationRecord
from tracelift_ray.tasks.traces import leaks_answer, mask_answer
from tracelift_ray.types import (
    Baseline,
    Execution,
    InfrastructureError,
    Problem,
    RubricScore,
    Trace,
    Trajectory,
)

#: Marks the seeds of evaluations, so that they share no samples with training.
_KEY = "evaluation"


class EvaluatedSystem(Protocol):
    """What is evaluated: ``streaming.rollout.PlannerExecutorSystem`` has this shape."""

    async def trace(
        self, problem: Problem, index: int, key: Sequence[int | str], *, greedy: bool = False, whole_text: bool = False
    ) -> Trace:
        """One trace of ``problem``."""

    async def execute(
        self, problem: Problem, reasoning: str | None, count: int, key: Sequence[int | str]
    ) -> tuple[Execution, ...]:
        """``count`` verified executor samples; ``reasoning`` None is the baseline."""

    async def score(self, problem: Problem, reasoning: str) -> RubricScore:
        """The rubric score of a trace."""


class Evaluator:
    """Evaluates one planner-executor system again and again, whatever its planner's weights are by then.

    Args:
        num_samples: K, executor samples for each problem, with the trace and without.
        scored: whether traces are also scored by the reasoning RM.
        mask_leaks: whether the executor sees a leaked answer masked, as under ``reward.leak: mask``.
        whole_text: whether a malformed trace is used as it is, as under ``reward.malformed: whole_text``.
        concurrency: problems under way at a time.
    """

    def __init__(
        self,
        system: EvaluatedSystem,
        *,
        num_samples: int,
        scored: bool,
        mask_leaks: bool = False,
        whole_text: bool = False,
        concurrency: int = 64,
    ) -> None:
        self._system = system
        self._num_samples = num_samples
        self._scored = scored
        self._mask_leaks = mask_leaks
        self._whole_text = whole_text
        self._places = asyncio.Semaphore(concurrency)
        self._baselines: dict[str, Baseline] = {}

    async def evaluate(self, problems: Sequence[Problem]) -> list[EvaluationRecord]:
        """One record for each problem, in order. Problem ids must be unique."""
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._record(problem)) for problem in problems]
        return [task.result() for task in running]

    async def _record(self, problem: Problem) -> EvaluationRecord:
        async with self._places, asyncio.TaskGroup() as tasks:
            trajectory = tasks.create_task(self._trajectory(problem))
            baseline = tasks.create_task(self._baseline(problem))
        return EvaluationRecord(problem, trajectory.result(), baseline.result())

    async def _baseline(self, problem: Problem) -> Baseline | None:
        """The executor without a trace; None after an infrastructure error, which the next evaluation tries again."""
        known = self._baselines.get(problem.id)
        if known is None:
            key = (_KEY, problem.id, "baseline")
            try:
                executions = await self._system.execute(problem, None, self._num_samples, key)
            except InfrastructureError:
                return None
            known = Baseline(sum(e.verdict.success for e in executions), len(executions))
            self._baselines[problem.id] = known
        return known

    async def _trajectory(self, problem: Problem) -> Trajectory | None:
        """The greedy trace, executed and scored; masked with the cause where a part gave no result."""
        try:
            trace = await self._system.trace(problem, 0, (_KEY, problem.id), greedy=True, whole_text=self._whole_text)
        except InfrastructureError:
            return None
        if trace.reasoning is None:
            return Trajectory(trace)
        leaked = leaks_answer(problem, trace.reasoning)
        shown = mask_answer(problem, trace.reasoning) if leaked and self._mask_leaks else trace.reasoning
        try:
            executions = await self._system.execute(problem, shown, self._num_samples, (_KEY, problem.id))
            rubric = await self._system.score(problem, trace.reasoning) if self._scored else None
        except InfrastructureError as error:
            return Trajectory(trace, masked=str(error), leaked=leaked)
        return Trajectory(trace, executions, rubric=rubric, leaked=leaked)
