"""Runs reference programs and changed copies of them on a problem's tests, in the sandbox of the verifier."""

from __future__ import annotations

import functools
from dataclasses import replace

from tracelift_ray.types import CodeTests, Outcome
from tracelift_ray.verification.code_process import CodeLimits
from tracelift_ray.verification.code_runner import SubprocessRunner

#: Small: programs of a reference trace are quick, and changed ones that are not are left alone. CPU time decides, so
#: that the load of the machine does not.
LIMITS = CodeLimits(cpu_s=0.5, wall_s=20.0, memory_mib=512, output_kib=64)
#: Errors of programs that mix up kinds of values; as a plan, such a program would not even sound right.
_IMPLAUSIBLE = ("TypeError", "AttributeError", "NameError", "UnboundLocalError")


@functools.cache
def shared_trials() -> Trials:
    """The sandbox of this process for all plug-ins that are given none."""
    return Trials()


class Trials:
    """One sandbox for the programs of one build. Its process ends with this one, or at ``close``."""

    def __init__(self) -> None:
        self._runner = SubprocessRunner(LIMITS)

    def passes(self, program: str, tests: CodeTests) -> bool:
        """Whether a program passes every test. Raises InfrastructureError where it could not be run."""
        return self._run(program, tests)[0] == "passed"

    def fails(self, program: str, tests: CodeTests, *, plausibly: bool = True) -> bool:
        """Whether a program ends and does not pass every test.

        Args:
            plausibly: programs that mix up kinds of values do not count.

        Raises:
            InfrastructureError: it could not be run.
        """
        outcome, detail = self._run(program, tests)
        if outcome == "runtime_error":
            return not (plausibly and any(name in detail for name in _IMPLAUSIBLE))
        return outcome == "wrong_answer"

    def close(self) -> None:
        """End the sandbox."""
        self._runner.close()

    def _run(self, program: str, tests: CodeTests) -> tuple[Outcome, str]:
        """All function tests at once: one process is enough to know whether any fails."""
        if tests.kind == "function" and tests.entry_point is None:
            tests = replace(tests, asserts=("\n".join(tests.asserts),))
        verdict = self._runner.run(program, tests)
        return verdict.outcome, verdict.detail
