"""The interface through which programs are run against their tests. ``runners`` holds the table and the factory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tracelift_ray.types import CodeTests, Verdict

#: A longer program is not run; it counts as one that does not compile.
MAX_PROGRAM_CHARS = 100_000


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
