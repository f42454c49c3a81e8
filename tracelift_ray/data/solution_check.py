"""Runs the reference solutions of code problems against the problems' own tests, before anything is trained on them.

A problem whose own solution fails has faulty tests, a faulty solution, or needs more than the sandbox gives; a planner
could learn nothing from it but noise. Such problems are reported by id with the reason, and left out where
``data.check_solutions`` is ``drop``. What the machine is to blame for (``InfrastructureError``) is no fault of the
data: the problem stays, and is reported as not judged.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tracelift_ray.config.paths import DEMO
from tracelift_ray.config.schema import DataConfig, SandboxConfig
from tracelift_ray.data.solution_memory import SolutionMemory
from tracelift_ray.errors import DataError, InfrastructureError
from tracelift_ray.tasks.programs import read_program
from tracelift_ray.tracking.alive import time_left
from tracelift_ray.types import CodeTests, Problem
from tracelift_ray.verification.code_runner import CodeRunner
from tracelift_ray.verification.errors import TestsUnusable
from tracelift_ray.verification.runners import build_runner, runner_slots

TESTS_UNUSABLE = "tests_unusable"
#: Ids that a report lists; the rest are counted.
LISTED = 20
PROGRESS_EVERY_S = 10.0
MAX_DETAIL_CHARS = 200


@dataclass(frozen=True)
class SolutionFault:
    """A problem whose own solution does not pass: an outcome of ``types.Outcome`` or ``tests_unusable``, and words."""

    problem_id: str
    outcome: str
    detail: str

    def __str__(self) -> str:
        return f"{self.problem_id}: {self.outcome}{f' ({self.detail})' if self.detail else ''}"


@dataclass(frozen=True)
class SolutionReport:
    """What became of the solutions of code problems.

    Attributes:
        ran: solutions that were run now.
        remembered: solutions whose verdict was known.
        without: code problems that have no solution; nothing is known of them.
        faults: problems whose solution fails, in the order of the problems.
        unjudged: ids and causes where the machine gave no verdict.
    """

    ran: int
    remembered: int
    without: int
    faults: tuple[SolutionFault, ...]
    unjudged: tuple[tuple[str, str], ...]

    def lines(self, dropped: bool) -> tuple[str, ...]:
        """For people: one line of counts, then one for each fault up to ``LISTED``."""
        checked = self.ran + self.remembered
        passed = checked - len(self.faults)
        head = f"reference solutions: {passed:,} of {checked:,} pass their own tests"
        if self.remembered:
            head += f" ({self.remembered:,} known from an earlier check)"
        if self.without:
            head += f"; {self.without:,} code problems have none"
        if self.unjudged:
            name, cause = self.unjudged[0]
            head += f"; {len(self.unjudged):,} could not be judged and stay, first: {name}: {cause}"
        if not self.faults:
            return (head,)
        fate = "left out" if dropped else "kept all the same (data.check_solutions=drop leaves them out)"
        listed = [f"  {fault}" for fault in self.faults[:LISTED]]
        more = len(self.faults) - LISTED
        return (f"{head}; {fate}:", *listed, *([f"  and {more:,} more"] if more > 0 else []))

    def sound(self, problems: Iterable[Problem]) -> tuple[Problem, ...]:
        """``problems`` without those that are at fault."""
        faulty = {fault.problem_id for fault in self.faults}
        return tuple(problem for problem in problems if problem.id not in faulty)


async def sound_problems(
    data: DataConfig,
    sandbox: SandboxConfig,
    train: Sequence[Problem],
    heldout: Sequence[Problem],
    tell: Callable[[str], None],
) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """Check the solutions of a run's problems as ``data.check_solutions`` says, and give back what remains.

    The demo world's problems are right by construction and are not checked. The check uses as many slots as this
    process may use cores, or ``sandbox.slots``.

    Args:
        tell: gets the lines of the report.

    Raises:
        DataError: no train problem is left.
        InfrastructureError: programs cannot be run.
    """
    problems = (*train, *heldout)
    checked = data.check_solutions != "off" and not all(source.startswith(DEMO) for source in data.train)
    if not checked or not any(problem.tests is not None and problem.solution is not None for problem in problems):
        return tuple(train), tuple(heldout)
    slots = runner_slots(sandbox, len(os.sched_getaffinity(0)))
    try:
        runner = build_runner(sandbox, slots)
    except InfrastructureError as error:
        cause = f"reference solutions cannot be checked here ({error.cause}); data.check_solutions=off starts without"
        raise InfrastructureError("data", cause) from error
    try:
        memory = SolutionMemory(data.solution_cache, sandbox, runner.report.where)
        report = await check_solutions(problems, runner, memory, slots, tell)
    finally:
        runner.close()
    drop = data.check_solutions == "drop"
    for line in report.lines(drop):
        tell(line)
    if not drop:
        return tuple(train), tuple(heldout)
    left = report.sound(train)
    if train and not left:
        raise DataError(
            f"no train problem is left: the reference solutions of all {len(train)} fail, such as {report.faults[0]}; "
            "mend the data, raise the sandbox's limits, or set data.check_solutions=report"
        )
    return left, report.sound(heldout)


async def check_solutions(
    problems: Sequence[Problem],
    runner: CodeRunner,
    memory: SolutionMemory,
    at_once: int,
    tell: Callable[[str], None],
) -> SolutionReport:
    """Run the solution of every code problem that has one, unless its verdict is in ``memory``.

    Args:
        at_once: solutions that run at a time.
        tell: gets a line of progress every ``PROGRESS_EVERY_S``.

    Raises:
        asyncio.CancelledError: the check was interrupted; ``runner`` is closed, verdicts so far are kept.
    """
    check = _Check(runner, memory)
    todo = [problem for problem in problems if problem.tests is not None and check.outstanding(problem)]
    loop = asyncio.get_running_loop()
    threads = ThreadPoolExecutor(at_once, thread_name_prefix="solutions")
    try:
        pending = {loop.run_in_executor(threads, check.judge, problem) for problem in todo}
        began = told = time.monotonic()
        while pending:
            done, pending = await asyncio.wait(pending, timeout=PROGRESS_EVERY_S)
            for each in done:
                each.result()
            if pending and time.monotonic() - told >= PROGRESS_EVERY_S:
                told, ran = time.monotonic(), len(todo) - len(pending)
                left = time_left(ran, len(todo), told - began)
                tell(f"reference solutions: {ran:,} of {len(todo):,} have run, ETA {left}")
    except BaseException:  # Interrupted or failed: runs in progress must end before their threads can.
        threads.shutdown(wait=False, cancel_futures=True)
        runner.close()
        raise
    finally:
        threads.shutdown(cancel_futures=True)
        memory.save()
    return check.report(problems, len(todo))


class _Check:
    """Judges one problem at a time, from several threads, and keeps what it found."""

    def __init__(self, runner: CodeRunner, memory: SolutionMemory) -> None:
        self._runner = runner
        self._memory = memory
        self._unjudged: dict[str, str] = {}

    def outstanding(self, problem: Problem) -> bool:
        return problem.solution is not None and self._memory.get(self._key(problem)) is None

    def judge(self, problem: Problem) -> None:
        program, tests = _solution(problem)
        outcome: tuple[str, str]
        try:
            verdict = self._runner.run(program, tests, stop_early=True)
            outcome = verdict.outcome, " ".join(verdict.detail.split())[:MAX_DETAIL_CHARS]
        except TestsUnusable as error:
            outcome = TESTS_UNUSABLE, error.cause[:MAX_DETAIL_CHARS]
        except InfrastructureError as error:
            self._unjudged[problem.id] = error.cause
            return
        self._memory.put(self._key(problem), outcome)

    def report(self, problems: Sequence[Problem], ran: int) -> SolutionReport:
        code = [problem for problem in problems if problem.tests is not None]
        solved = [problem for problem in code if problem.solution is not None]
        faults = []
        for problem in solved:
            outcome = self._memory.get(self._key(problem))
            if outcome is not None and outcome[0] != "passed":
                faults.append(SolutionFault(problem.id, *outcome))
        unjudged = tuple(self._unjudged.items())
        return SolutionReport(ran - len(unjudged), len(solved) - ran, len(code) - len(solved), tuple(faults), unjudged)

    def _key(self, problem: Problem) -> str:
        return self._memory.key(*_solution(problem))


def _solution(problem: Problem) -> tuple[str, CodeTests]:
    """The reference program, taken out of its fence where the data has one around it, and the tests."""
    assert problem.solution is not None and problem.tests is not None
    text = problem.solution
    return (read_program(text) or text) if "```" in text else text, problem.tests
