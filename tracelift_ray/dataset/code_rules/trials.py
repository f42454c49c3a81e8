"""Runs reference programs and changed copies of them on a problem's tests, in the sandbox of the verifier."""

from __future__ import annotations

from dataclasses import replace

from tracelift_ray.config.schema import SandboxConfig
from tracelift_ray.types import CodeTests, Outcome
from tracelift_ray.verification.code_runner import CodeRunner
from tracelift_ray.verification.runners import build_runner

#: Programs of reference traces are quick, and changed ones that are not are left alone. CPU time decides, so that the
#: load of the machine does not.
CPU_S = 0.5
#: Errors of programs that mix up kinds of values; as a plan, such a program would not even sound right.
_IMPLAUSIBLE = ("TypeError", "AttributeError", "NameError", "UnboundLocalError")


class Trials:
    """A code runner for the programs of a build, from the first program until ``close``. Each program gets ``CPU_S`` at
    most, and one runs at a time."""

    def __init__(self, sandbox: SandboxConfig) -> None:
        self._config = replace(sandbox, cpu_s=min(sandbox.cpu_s, CPU_S))
        self._runner: CodeRunner | None = None

    def passes(self, program: str, tests: CodeTests) -> bool:
        """Whether a program passes every test. Raises InfrastructureError where it could not be run."""
        return self._run(program, tests)[0] == "passed"

    def fails(self, program: str, tests: CodeTests, *, plausibly: bool = True) -> bool:
        """Whether a program ends and does not pass every test; ``plausibly``: programs that mix up kinds of values do
        not count. Raises InfrastructureError where it could not be run."""
        outcome, detail = self._run(program, tests)
        if outcome == "runtime_error":
            return not (plausibly and any(name in detail for name in _IMPLAUSIBLE))
        return outcome == "wrong_answer"

    def close(self) -> None:
        """End the code runner."""
        if self._runner is not None:
            self._runner.close()

    def _run(self, program: str, tests: CodeTests) -> tuple[Outcome, str]:
        """All function tests at once: one process is enough to know whether any fails."""
        if self._runner is None:
            self._runner = build_runner(self._config, slots=1)
        if tests.kind == "function" and tests.entry_point is None:
            tests = replace(tests, asserts=("\n".join(tests.asserts),))
        verdict = self._runner.run(program, tests, stop_early=True)
        return verdict.outcome, verdict.detail
