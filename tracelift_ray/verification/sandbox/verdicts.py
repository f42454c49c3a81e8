"""Maps the end of a run to an outcome of the program, or to ``NoVerdict`` where it says nothing about it.

Only what a program did itself counts against it. It did not if its process was not confined yet, if a signal killed it
that we did not send (the seccomp filter lets no program kill itself with SIGKILL), or if the machine kept it
from running until its time was up.
"""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass

from tracelift_ray.tasks.code_tests import OutputRule
from tracelift_ray.verification.code_runner import TestResult, last_line
from tracelift_ray.verification.comparison import output_result
from tracelift_ray.verification.errors import NoVerdict, TestsUnusable
from tracelift_ray.verification.sandbox.inside.confine import DOES_NOT_COMPILE, STARTED
from tracelift_ray.verification.sandbox.inside.program import OUT_OF_MEMORY
from tracelift_ray.verification.sandbox.inside.tester import GONE, UNUSABLE
from tracelift_ray.verification.sandbox.slot import Ending, ProcessEnd

_STARTED, _DOES_NOT_COMPILE = STARTED.decode(), (STARTED + DOES_NOT_COMPILE).decode()


@dataclass(frozen=True)
class Output:
    """What a run wrote, each up to the limit, and whether it wrote more than that in all."""

    stdout: bytes
    stderr: bytes
    flooded: bool

    @property
    def last_line(self) -> str:
        """As ``code_runner.last_line``."""
        return last_line(self.stderr.decode(errors="replace"))


def stdio_result(ending: Ending, output: Output, cpu_s: float, expected: str, rule: OutputRule) -> TestResult:
    """What a whole program's run says. Raises NoVerdict."""
    (process,) = ending.processes
    _check_started(process)
    last = output.last_line
    if output.flooded:
        return TestResult("output_limit", last)
    if ending.killed_for:
        return _time_limit(ending)
    if process.report == _DOES_NOT_COMPILE:
        return TestResult("does_not_compile", last)
    got = output.stdout.decode("utf-8", "surrogateescape")
    return _exit(process, last, cpu_s) or output_result(got, expected, rule)


def function_results(ending: Ending, output: Output, cpu_s: float, results: bytes, numbers: range) -> list[TestResult]:
    """What the tests of one run say, in order, up to the one that ended it; ``numbers`` are those it was to do.

    The output of all of them counts together, against the last.

    Raises:
        TestsUnusable: a test cannot be run, whatever the program.
        NoVerdict: something else than the program ended the run.
    """
    solution, tests = ending.processes
    _check_started(solution)
    _check_started(tests)
    if solution.report == _DOES_NOT_COMPILE:
        return [TestResult("does_not_compile", output.last_line)]
    found: list[TestResult] = []
    for line, number in zip(results.splitlines(), numbers, strict=False):
        index, outcome, detail = json.loads(line)
        if index != number:
            raise NoVerdict("the results of the tests are out of order")
        if outcome == UNUSABLE:
            raise TestsUnusable(f"test {index + 1}: {detail}")
        found.append(_left(solution, output, cpu_s, detail) if outcome == GONE else TestResult(outcome, detail))
    if len(found) < len(numbers) and ending.killed_for in ("cpu", "wall"):
        found.append(_time_limit(ending))
    elif tests.exit_code != 0 and not tests.killed:
        # What the program sent was too much for the tests, or something killed them.
        values = "the program's values ended the tests"
        found.append(_exit(tests, values, cpu_s) or TestResult("runtime_error"))
    if output.flooded:
        return [*found[:-1], TestResult("output_limit", output.last_line)]
    if not found:
        raise NoVerdict("the tests of a program ended without a result")
    return found


def _left(solution: ProcessEnd, output: Output, cpu_s: float, detail: str) -> TestResult:
    """The program's process ended, or closed its channel, while a test was running."""
    last = output.last_line or detail
    if solution.killed:
        return TestResult("runtime_error", last)
    return _exit(solution, last, cpu_s) or TestResult("runtime_error", last)


def _exit(process: ProcessEnd, last: str, cpu_s: float) -> TestResult | None:
    """What the exit code of a process says that we did not kill."""
    code = process.exit_code
    if code == -signal.SIGXCPU or (code == -signal.SIGKILL and process.cpu_s >= cpu_s):
        return TestResult("time_limit")
    if code == -signal.SIGKILL:
        raise NoVerdict("a program was killed by something else; check the memory of its machine")
    if code == OUT_OF_MEMORY:
        return TestResult("memory_limit", last)
    if code != 0:
        return TestResult("runtime_error", last or f"exit code {code}")
    return None


def _time_limit(ending: Ending) -> TestResult:
    if ending.killed_for == "wall":
        if ending.starved:
            raise NoVerdict("the machine kept a program from running for most of a long time; check its load")
        return TestResult("time_limit", f"{ending.wall_s:.1f} s on the clock")
    return TestResult("time_limit", "CPU time")


def _check_started(process: ProcessEnd) -> None:
    if not process.report.startswith(_STARTED):
        raise NoVerdict(f"a program's process was not set up ({process.report or f'exit code {process.exit_code}'})")
