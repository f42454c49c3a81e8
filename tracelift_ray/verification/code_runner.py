"""The interface through which programs are run against their tests, and what its implementations share.

``runners`` holds the table and the factory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tracelift_ray.types import CodeTests, Outcome, Verdict

#: A longer program is not run; it counts as one that does not compile.
MAX_PROGRAM_CHARS = 100_000
#: Of a verdict's detail, and of each stream in it.
MAX_DETAIL_CHARS, MAX_SHOWN_CHARS = 300, 2000


@dataclass(frozen=True)
class RunnerReport:
    """Where programs run.

    Attributes:
        where: the tier of our sandbox, or the service; verdicts that are kept are filed under it.
        isolated: whether programs are kept from this machine.
        lines: what was found out at the start, for the log.
    """

    where: str
    isolated: bool
    lines: tuple[str, ...]


class CodeRunner(Protocol):
    """Runs programs. Methods may be called from several threads."""

    @property
    def report(self) -> RunnerReport:
        """Where programs run."""
        ...

    def run(self, program: str, tests: CodeTests, stop_early: bool = False) -> Verdict:
        """Runs every test; the outcome is that of the first that fails.

        Args:
            stop_early: whether the tests after the first that fails may be left out.

        Raises:
            TestsUnusable: the tests cannot be run, whatever the program.
            InfrastructureError: there is no verdict, for a reason that is not the program's.
            ValueError: there are no tests.
        """
        ...

    def close(self) -> None:
        """End all processes and requests. A run in progress raises InfrastructureError."""
        ...


@dataclass(frozen=True)
class TestResult:
    """What one test says of the program."""

    outcome: Outcome
    detail: str = ""


@dataclass
class Tally:
    """What the tests of one program, ``total`` in all, have cost and said so far."""

    total: int
    results: list[TestResult] = field(default_factory=list)
    cpu_s: float = 0.0
    wall_s: float = 0.0
    peak_mib: float = 0.0
    stdout: str = ""
    stderr: str = ""

    def add(
        self,
        results: Sequence[TestResult],
        stdout: str,
        stderr: str,
        *,
        wall_s: float,
        cpu_s: float = 0.0,
        peak_mib: float = 0.0,
    ) -> None:
        """One more run; the output that is shown is that of the first run that failed, else of the last."""
        if self._failed() is None:
            self.stdout, self.stderr = stdout[:MAX_SHOWN_CHARS], stderr[:MAX_SHOWN_CHARS]
        self.results += results
        self.cpu_s += cpu_s
        self.wall_s += wall_s
        self.peak_mib = max(self.peak_mib, peak_mib)

    def is_over(self, stop_early: bool) -> bool:
        """Whether there is nothing more to run; ``stop_early``: nor after a test that failed."""
        if len(self.results) >= self.total or (stop_early and self._failed() is not None):
            return True
        return bool(self.results) and self.results[-1].outcome == "does_not_compile"

    def verdict(self) -> Verdict:
        """The verdict: the outcome is that of the first test that failed."""
        detail, outcome = "", self.results[-1].outcome
        index = self._failed()
        if index is not None:
            outcome, detail = self.results[index].outcome, self.results[index].detail
            where = "" if outcome == "does_not_compile" else f"test {index + 1} of {self.total}: "
            detail = (where + detail)[:MAX_DETAIL_CHARS]
        passed = sum(each.outcome == "passed" for each in self.results)
        costs = self.cpu_s, self.wall_s, self.peak_mib
        return Verdict(outcome, passed, self.total, detail, *costs, self.stdout, self.stderr)

    def _failed(self) -> int | None:
        return next((index for index, each in enumerate(self.results) if each.outcome != "passed"), None)


def unread_verdict(program: str, tests: CodeTests) -> Verdict | None:
    """The verdict on a program that is too long to be run; None for any other. Raises ValueError without tests."""
    if not len(tests):
        raise ValueError("a program cannot be judged without tests; problems without tests are refused at load")
    if len(program) > MAX_PROGRAM_CHARS:
        return Verdict("does_not_compile", 0, len(tests), f"a program of {len(program)} characters is not run")
    return None


def last_line(stderr: str) -> str:
    """The last line on stderr, which names the exception that ended a program."""
    lines = stderr.strip().splitlines()
    return lines[-1].strip() if lines else ""
