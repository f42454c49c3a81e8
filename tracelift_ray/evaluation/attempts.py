"""Attempts a problem with traces and without, the same number of each, all seeded.

With ``greedy`` traces a problem has one trace and every attempt is an executor sample on it; with ``sampled`` traces
every attempt is a trace of its own with one executor sample. Either way the attempts at a problem are alike and
independent, which pass@k needs. Seeds come from the problem alone, so two planners meet the same executor luck.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tracelift_ray.config.schema import RunConfig
from tracelift_ray.errors import InfrastructureError, first_failure
from tracelift_ray.evaluation.results import EvaluatedTrace, ProblemResult
from tracelift_ray.rl.system import PlannerExecutorSystem
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Execution, Outcome, Problem, Trace

#: Marks the seeds of evaluations, so that they share no samples with training.
_KEY = "evaluation"
_FAILED: Outcome = "no_artifact"

#: Further checks of a trace's text, by the name of the figure that their rate becomes.
TraceChecks = Mapping[str, Callable[[Problem, str], bool]]
#: A trace and the attempts with it; None for each where there is no trace to show.
Tried = tuple[EvaluatedTrace, tuple[Execution | None, ...]]


@dataclass(frozen=True)
class Manner:
    """How problems are attempted.

    Attributes:
        traces: ``greedy`` or ``sampled``.
        attempts: with traces, and as many without.
        scored: whether traces are scored by the reasoning RM.
        mask_leaks, whole_text: as under ``reward.leak: mask`` and ``reward.malformed: whole_text``.
        checks: further checks of a trace's text.
    """

    traces: str
    attempts: int
    scored: bool
    mask_leaks: bool
    whole_text: bool
    checks: TraceChecks

    @classmethod
    def of(cls, run: RunConfig, traces: str, *, scored: bool, checks: TraceChecks) -> Manner:
        """As the run's configuration says."""
        mask_leaks, whole_text = run.reward.leak == "mask", run.reward.malformed == "whole_text"
        return cls(traces, run.evaluation.num_samples, scored, mask_leaks, whole_text, checks)


class Attempts:
    """Attempts problems with one system, again and again, whatever its planner's weights are by then.

    The attempts without a trace are made once and kept, since the executor is frozen.
    """

    def __init__(self, system: PlannerExecutorSystem, manner: Manner) -> None:
        self._system = system
        self._manner = manner
        self._baselines: dict[Problem, tuple[Outcome, ...]] = {}

    async def evaluate(self, benchmark: str, problem: Problem) -> ProblemResult:
        """The result of a problem. Raises InfrastructureError."""
        greedy = self._manner.traces == "greedy"
        count = 1 if greedy else self._manner.attempts
        return await self._result(benchmark, problem, [self._attempt(problem, i, greedy) for i in range(count)])

    async def replay(self, earlier: ProblemResult, problem: Problem) -> ProblemResult:
        """The same traces under this system's executor. Raises InfrastructureError."""
        per_trace = len(earlier.with_trace) // len(earlier.traces)
        tries = [self._execute(problem, trace, per_trace, index) for index, trace in enumerate(earlier.traces)]
        return await self._result(earlier.benchmark, problem, tries)

    async def _result(
        self, benchmark: str, problem: Problem, tries: Sequence[Coroutine[Any, Any, Tried]]
    ) -> ProblemResult:
        async with _together() as together:
            without = together.create_task(self._without(problem))
            tasks = [together.create_task(each) for each in tries]
        tried = [task.result() for task in tasks]
        executions = [execution for _, some in tried for execution in some]
        return ProblemResult(
            benchmark,
            problem.id,
            problem.task,
            tuple(trace for trace, _ in tried),
            tuple(_FAILED if each is None else each.verdict.outcome for each in executions),
            without.result(),
            tuple(None if each is None else each.artifact.content for each in executions),
        )

    async def _without(self, problem: Problem) -> tuple[Outcome, ...]:
        known = self._baselines.get(problem)
        if known is None:
            key = (_KEY, problem.id, "baseline")
            executions = await self._system.execute(problem, None, self._manner.attempts, key)
            known = self._baselines[problem] = tuple(each.verdict.outcome for each in executions)
        return known

    async def _attempt(self, problem: Problem, index: int, greedy: bool) -> Tried:
        manner = self._manner
        trace = await self._system.trace(
            problem, index, (_KEY, problem.id), greedy=greedy, whole_text=manner.whole_text
        )
        seen = self._seen(problem, trace)
        if manner.scored and trace.reasoning is not None:
            seen = replace(seen, rm_score=(await self._system.score(problem, trace.reasoning)).score)
        return await self._execute(problem, seen, manner.attempts if greedy else 1, index)

    def _seen(self, problem: Problem, trace: Trace) -> EvaluatedTrace:
        """A trace as the executor is shown it."""
        tokens, cut = len(trace.completion.token_ids), trace.completion.finish_reason == "length"
        reasoning, task = trace.reasoning, task_of(problem.task)
        if reasoning is None:
            failed = dict.fromkeys(self._manner.checks, False)
            text = trace.completion.text
            return EvaluatedTrace(None, trace.malformed, tokens, cut, False, None, failed, trace.prompt, text)
        checks = {name: check(problem, reasoning) for name, check in self._manner.checks.items()}
        leaked = task.leaks(problem, reasoning)
        shown = task.mask(problem, reasoning) if leaked and self._manner.mask_leaks else reasoning
        return EvaluatedTrace(shown, trace.malformed, tokens, cut, leaked, None, checks, trace.prompt)

    async def _execute(self, problem: Problem, trace: EvaluatedTrace, count: int, index: int) -> Tried:
        """``count`` attempts with one trace."""
        if trace.text is None:
            return trace, (None,) * count
        key = (_KEY, problem.id) if self._manner.traces == "greedy" else (_KEY, problem.id, index)
        return trace, await self._system.execute(problem, trace.text, count, key)


@contextlib.asynccontextmanager
async def _together() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group. The first infrastructure error in it ends the other tasks and is raised itself."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failures:  # unwrapped, so that who waits sees the failure itself; raised either way
        infrastructure, others = failures.split(InfrastructureError)
        raise failures if infrastructure is None or others is not None else first_failure(infrastructure) from None
