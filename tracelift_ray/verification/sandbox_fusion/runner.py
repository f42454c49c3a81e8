"""Runs programs in a service elsewhere that speaks the SandboxFusion protocol; implements ``CodeRunner``.

Every test is one request. A stdio test sends the program with the test's input, and its output is compared here. A
function test sends program and test in one script (``harness``), which says what came of it behind a random token.
Isolation is the service's. The service limits wall time and memory, but no CPU time, files or threads.
"""

from __future__ import annotations

import inspect
import secrets
import symtable

from tracelift_ray.config.schema import SandboxConfig
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.tasks.code_tests import OutputRule
from tracelift_ray.types import CodeTests, Verdict
from tracelift_ray.verification.code_runner import RunnerReport, Tally, TestResult, last_line, unread_verdict
from tracelift_ray.verification.comparison import output_result
from tracelift_ray.verification.errors import COMPONENT, TestsUnusable
from tracelift_ray.verification.sandbox.controls import controls
from tracelift_ray.verification.sandbox.inside.tester import Wanted, import_name
from tracelift_ray.verification.sandbox_fusion import harness
from tracelift_ray.verification.sandbox_fusion.client import FusionClient, RunResult


class SandboxFusion:
    """See the module. Safe to use from several threads.

    Raises:
        InfrastructureError: the service does not answer, or judges a known program wrong.
    """

    def __init__(self, config: SandboxConfig) -> None:
        if config.service is None:
            raise ValueError("sandbox.service is needed: use sandbox=sandbox_fusion")
        self._config = config
        # An answer holds stdout and stderr, escaped.
        self._client = FusionClient(config.service, most_bytes=8 * config.output_kib * 1024 + 2**20)
        url = config.service.url
        self.report = RunnerReport(
            f"sandbox_fusion at {url}",
            isolated=True,
            lines=(f"programs run in the service at {url}; docs/security.md says what it does not guarantee",),
        )
        try:
            self._check()
        except BaseException:  # A failure or Ctrl-C: no thread stays; the error propagates.
            self.close()
            raise

    def run(self, program: str, tests: CodeTests, stop_early: bool = False) -> Verdict:
        unread = unread_verdict(program, tests)
        if unread is not None:
            return unread
        try:
            program.encode()
        except UnicodeEncodeError:
            return Verdict("does_not_compile", 0, len(tests), "the program is no UTF-8")
        tally = Tally(len(tests))
        while not tally.is_over(stop_early):
            ended, result = self._test(program, tests, len(tally.results))
            tally.add([result], ended.stdout, ended.stderr, wall_s=ended.wall_s)
        return tally.verdict()

    def close(self) -> None:
        self._client.close()

    def _check(self) -> None:
        """Programs whose verdict is known must get it."""
        for control in controls(isolated=False):
            verdict = self.run(control.program, control.tests)
            if verdict.outcome != control.outcome:
                raise InfrastructureError(
                    COMPONENT,
                    f"{self.report.where}: {control.name} was judged {verdict.outcome}, not {control.outcome} "
                    f"({verdict.detail or 'no detail'}); check the service's Python",
                )

    def _test(self, program: str, tests: CodeTests, index: int) -> tuple[RunResult, TestResult]:
        """One test: how its run ended, and what that says."""
        token = secrets.token_hex(16)
        if tests.kind == "stdio":
            code, stdin = program, tests.inputs[index]
        else:
            code, stdin = function_script(program, tests, index, token), ""
        ended = self._client.run(code, stdin, self._config.wall_s, self._config.memory_mib)
        result = self._failure(ended)
        if result is None and tests.kind == "stdio":
            result = output_result(ended.stdout, tests.outputs[index], OutputRule.of(tests))
        return ended, result or _function_result(ended, token)

    def _failure(self, ended: RunResult) -> TestResult | None:
        """What the end of a process says against its program; None where it ended in order."""
        last = last_line(ended.stderr)
        written = len(ended.stdout.encode("utf-8", "replace")) + len(ended.stderr.encode("utf-8", "replace"))
        if written > self._config.output_kib * 1024:
            return TestResult("output_limit", last)
        if ended.return_code is None:
            return TestResult("time_limit", f"{self._config.wall_s:g} s on the clock")
        if ended.return_code == 0:
            return None
        if last.startswith("MemoryError"):
            return TestResult("memory_limit", last)
        if _refused_by_compiler(ended.stderr):
            return TestResult("does_not_compile", last)
        return TestResult("runtime_error", last or f"exit code {ended.return_code}")


def _function_result(ended: RunResult, token: str) -> TestResult:
    """What the script of a function test says in its last line. Raises TestsUnusable."""
    last = ended.stdout.rstrip("\n").rpartition("\n")[2]
    found, _, said = last.partition(" ")
    outcome, _, detail = said.partition(" ")
    if found != token or outcome not in harness.OUTCOMES:
        return TestResult("runtime_error", "the program ended the process before its test")
    if outcome == harness.UNUSABLE:
        raise TestsUnusable(f"the service cannot run a test ({detail})")
    return TestResult(outcome, detail)  # type: ignore[arg-type]  # of OUTCOMES, which are outcomes of verdicts


def function_script(program: str, tests: CodeTests, index: int, token: str) -> str:
    """The script that runs one function test.

    Raises:
        TestsUnusable: the test or its set-up is no Python.
    """
    sources = tests.setup, tests.asserts[index]
    try:
        uses = [Wanted(source, dict.fromkeys(_defined(tests.setup))) for source in sources]
    except (SyntaxError, ValueError, RecursionError) as error:
        raise TestsUnusable(f"test {index + 1}: a test is not Python ({error})") from None
    names = [name for use in uses for name in use.of_program]
    if tests.entry_point is None and not uses[1].of_program and not uses[1].defined:
        names += uses[1].called_builtins  # A program may be asked to define what is called like a builtin.
    modules = {name: import_name(name) for use in uses for name in use.modules}
    arguments = (token, program, *sources, tests.entry_point, names, modules)
    return f"{inspect.getsource(harness)}\n\nmain(*{arguments!a})\n"


def _defined(setup: str) -> list[str]:
    """Names that the set-up defines."""
    table = symtable.symtable(setup, "<setup>", "exec")
    return [symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()]


def _refused_by_compiler(stderr: str) -> bool:
    """Whether Python did not start a script: it then prints the place without a traceback."""
    return stderr.lstrip("\n").startswith('  File "') and "Traceback (most recent call last)" not in stderr
