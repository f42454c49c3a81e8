"""Evaluates problems one by one: attempts with traces and without, the same number of each, all seeded.

With ``greedy`` traces a problem has one trace and every attempt is an executor sample on it; with ``sampled`` traces
every attempt is a trace of its own with one executor sample. Either way the attempts at a problem are alike and
independent, which pass@k needs. An infrastructure error leaves its problem without a result, never with a number.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from time import monotonic

from tracelift_ray.evaluation.results import EvaluatedTrace, ProblemResult, ResultStore
from tracelift_ray.evaluation.run import EvaluatedSystem
from tracelift_ray.evaluation.summary import TraceChecks
from tracelift_ray.tasks.traces import leaks_answer, mask_answer
from tracelift_ray.types import Execution, InfrastructureError, Outcome, Problem, Trace

TRACES = ("greedy", "sampled")
#: Marks the seeds of evaluations, so that they share no samples with training.
_KEY = "evaluation"
_FAILED: Outcome = "no_artifact"
PROGRESS_S = 15.0

Task = tuple[str, Problem]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Protocol:
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


class Attempts:
    """Attempts problems with one system."""

    def __init__(self, system: EvaluatedSystem, protocol: Protocol) -> None:
        self._system = system
        self._protocol = protocol

    async def evaluate(self, benchmark: str, problem: Problem) -> ProblemResult:
        """The result of a problem. Raises InfrastructureError."""
        greedy = self._protocol.traces == "greedy"
        async with _whole() as together:
            without = together.create_task(self._without(problem))
            tried = [
                together.create_task(self._attempt(problem, index, greedy))
                for index in range(1 if greedy else self._protocol.attempts)
            ]
        pairs = [task.result() for task in tried]
        executions = [execution for _, some in pairs for execution in some]
        return ProblemResult(
            benchmark,
            problem.id,
            problem.task,
            tuple(trace for trace, _ in pairs),
            tuple(_FAILED if each is None else each.verdict.outcome for each in executions),
            tuple(each.verdict.outcome for each in without.result()),
            tuple(None if each is None else each.artifact.content for each in executions),
        )

    async def replay(self, earlier: ProblemResult, problem: Problem) -> ProblemResult:
        """The same traces under this system's executor. Raises InfrastructureError."""
        per_trace = len(earlier.with_trace) // len(earlier.traces)
        async with _whole() as together:
            without = together.create_task(self._without(problem))
            tried = [
                together.create_task(self._execute(problem, trace.text, per_trace, index))
                for index, trace in enumerate(earlier.traces)
            ]
        executions = [execution for task in tried for execution in task.result()]
        return replace(
            earlier,
            with_trace=tuple(_FAILED if each is None else each.verdict.outcome for each in executions),
            without_trace=tuple(each.verdict.outcome for each in without.result()),
            artifacts=tuple(None if each is None else each.artifact.content for each in executions),
        )

    async def _without(self, problem: Problem) -> tuple[Execution, ...]:
        return await self._system.execute(problem, None, self._protocol.attempts, (_KEY, problem.id, "baseline"))

    async def _attempt(
        self, problem: Problem, index: int, greedy: bool
    ) -> tuple[EvaluatedTrace, tuple[Execution | None, ...]]:
        protocol = self._protocol
        trace = await self._system.trace(
            problem, index, (_KEY, problem.id), greedy=greedy, whole_text=protocol.whole_text
        )
        seen = self._seen(problem, trace)
        if protocol.scored and trace.reasoning is not None:
            seen = replace(seen, rm_score=(await self._system.score(problem, trace.reasoning)).score)
        return seen, await self._execute(problem, seen.text, protocol.attempts if greedy else 1, index)

    def _seen(self, problem: Problem, trace: Trace) -> EvaluatedTrace:
        """A trace as the executor is shown it."""
        reasoning = trace.reasoning
        leaked = reasoning is not None and leaks_answer(problem, reasoning)
        shown = (
            mask_answer(problem, reasoning)
            if reasoning is not None and leaked and self._protocol.mask_leaks
            else reasoning
        )
        checks = {
            name: reasoning is not None and check(problem, reasoning) for name, check in self._protocol.checks.items()
        }
        completion = trace.completion
        cut = completion.finish_reason == "length"
        return EvaluatedTrace(shown, trace.malformed, len(completion.token_ids), cut, leaked, None, checks)

    async def _execute(
        self, problem: Problem, text: str | None, count: int, index: int
    ) -> tuple[Execution | None, ...]:
        """``count`` attempts with one trace; None for each where there is no trace to show."""
        if text is None:
            return (None,) * count
        return await self._system.execute(problem, text, count, (_KEY, problem.id, index))


async def evaluate_all(
    tasks: Sequence[Task],
    solve: Callable[[str, Problem], Awaitable[ProblemResult]],
    store: ResultStore,
    *,
    concurrency: int,
    say: Say,
) -> Counter[str]:
    """Evaluate what ``store`` has no result of yet; returns the causes of results that are missing, with counts.

    Args:
        tasks: benchmark and problem, each pair once.
        concurrency: problems under way at a time.
        say: is told of progress.
    """
    waiting = [task for task in tasks if (task[0], task[1].id) not in store.done]
    places, causes, said = asyncio.Semaphore(concurrency), Counter[str](), monotonic()
    if len(waiting) < len(tasks):
        say(f"{len(tasks) - len(waiting):,} of {len(tasks):,} problems have results already")

    async def one(benchmark: str, problem: Problem) -> None:
        nonlocal said
        async with places:
            try:
                store.add(await solve(benchmark, problem))
            except InfrastructureError as error:
                causes[str(error)] += 1
        if monotonic() - said > PROGRESS_S:
            said = monotonic()
            say(f"{len(store.done):,} of {len(tasks):,} problems, {sum(causes.values()):,} without a result")

    async with asyncio.TaskGroup() as running:
        for benchmark, problem in waiting:
            running.create_task(one(benchmark, problem))
    return causes


class _whole:
    """A task group whose first InfrastructureError ends the others and is raised itself."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> asyncio.TaskGroup:
        return await self._group.__aenter__()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            await self._group.__aexit__(type(error) if error else None, error, None)
        except* InfrastructureError as errors:
            raise _first(errors) from None


def _first(errors: BaseExceptionGroup[InfrastructureError]) -> InfrastructureError:
    found = errors.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
