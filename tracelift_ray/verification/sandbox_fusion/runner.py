"""Runs programs in a service elsewhere that speaks the SandboxFusion protocol; implements ``CodeRunner``.

Every test is one request. A stdio test sends the program with the test's input, and its output is compared here. A
function test sends program and test in one script (``harness``), which says what came of it behind a random token.
Isolation is the service's. The service limits wall time and memory, but no CPU time, files or threads.
"""

from __future__ import annotations

import secrets
import symtable
from functools import cache
from importlib.resources import files

from tracelift_ray.config.schema import SandboxConfig
from tracelift_ray.tasks.code_tests import OutputRule
from tracelift_ray.types import CodeTests, InfrastructureError, Outcome, Verdict
from tracelift_ray.verification.code_runner import MAX_PROGRAM_CHARS, RunnerReport
from tracelift_ray.verification.comparison import outputs_match, shown_difference
from tracelift_ray.verification.errors import COMPONENT, TestsUnusable
from tracelift_ray.verification.sandbox.controls import controls
from tracelift_ray.verification.sandbox.inside.tester import Wanted, import_name
from tracelift_ray.verification.sandbox_fusion.client import FusionClient, RunRequest, RunResult
from tracelift_ray.verification.sandbox_fusion.harness import OUTCOMES, UNUSABLE

MAX_DETAIL_CHARS, MAX_SHOWN_CHARS = 300, 2000


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
        self._report = RunnerReport(
            f"sandbox_fusion at {url}",
            isolated=True,
            lines=(f"programs run in the service at {url}; docs/security.md says what it does not guarantee",),
        )
        try:
            self._check()
        except BaseException:  # A failure or Ctrl-C: no thread stays; the error propagates.
            self.close()
            raise

    @property
    def report(self) -> RunnerReport:
        return self._report

    def run(self, program: str, tests: CodeTests, stop_early: bool = False) -> Verdict:
        if not len(tests):
            raise ValueError("a program cannot be judged without tests; problems without tests are refused at load")
        total = len(tests)
        if len(program) > MAX_PROGRAM_CHARS:
            return Verdict("does_not_compile", 0, total, f"a program of {len(program)} characters is not run")
        if not program.isascii() and not _is_utf8(program):
            return Verdict("does_not_compile", 0, total, "the program is no UTF-8")
        passed, wall_s = 0, 0.0
        failure: tuple[Outcome, str] | None = None
        shown: RunResult | None = None
        for index in range(total):
            result, outcome, detail = self._test(program, tests, index)
            wall_s += result.wall_s
            passed += outcome == "passed"
            if failure is None:
                shown = result
            if failure is None and outcome != "passed":
                where = "" if outcome == "does_not_compile" else f"test {index + 1} of {total}: "
                failure = outcome, (where + detail)[:MAX_DETAIL_CHARS]
            if outcome == "does_not_compile" or (stop_early and failure is not None):
                break
        outcome, detail = failure or ("passed", "")
        return Verdict(
            outcome,
            passed,
            total,
            detail,
            wall_s=wall_s,
            stdout=shown.stdout[:MAX_SHOWN_CHARS] if shown else "",
            stderr=shown.stderr[:MAX_SHOWN_CHARS] if shown else "",
        )

    def close(self) -> None:
        self._client.close()

    def _check(self) -> None:
        """Programs whose verdict is known must get it."""
        for control in controls(isolated=False):
            verdict = self.run(control.program, control.tests)
            if verdict.outcome != control.outcome:
                raise InfrastructureError(
                    COMPONENT,
                    f"{self._report.where}: {control.name} was judged {verdict.outcome}, not {control.outcome} "
                    f"({verdict.detail or 'no detail'}); check the service's Python",
                )

    def _test(self, program: str, tests: CodeTests, index: int) -> tuple[RunResult, Outcome, str]:
        """One test: how its run ended, and what that says."""
        if tests.kind == "stdio":
            result = self._client.run(self._request(program, tests.inputs[index]))
            return result, *self._stdio_outcome(result, tests.outputs[index], OutputRule.of(tests))
        token = secrets.token_hex(16)
        result = self._client.run(self._request(function_script(program, tests, index, token), ""))
        return result, *self._function_outcome(result, token)

    def _request(self, code: str, stdin: str) -> RunRequest:
        return RunRequest(code, stdin, self._config.wall_s, self._config.memory_mib)

    def _stdio_outcome(self, result: RunResult, expected: str, rule: OutputRule) -> tuple[Outcome, str]:
        failure = self._failure(result)
        if failure is not None:
            return failure
        if outputs_match(result.stdout, expected, rule):
            return "passed", ""
        return "wrong_answer", shown_difference(result.stdout, expected)

    def _function_outcome(self, result: RunResult, token: str) -> tuple[Outcome, str]:
        failure = self._failure(result)
        if failure is not None:
            return failure
        last = result.stdout.rstrip("\n").rpartition("\n")[2]
        found, _, said = last.partition(" ")
        outcome, _, detail = said.partition(" ")
        if found != token or outcome not in OUTCOMES:
            return "runtime_error", "the program ended the process before its test"
        if outcome == UNUSABLE:
            raise TestsUnusable(f"the service cannot run a test ({detail})")
        return outcome, detail  # type: ignore[return-value]  # of OUTCOMES, which are outcomes of verdicts

    def _failure(self, result: RunResult) -> tuple[Outcome, str] | None:
        """What the end of a process says against its program; None where it ended in order."""
        last = _last_line(result.stderr)
        written = len(result.stdout.encode("utf-8", "replace")) + len(result.stderr.encode("utf-8", "replace"))
        if written > self._config.output_kib * 1024:
            return "output_limit", last
        if result.late:
            return "time_limit", f"{self._config.wall_s:g} s on the clock"
        if result.return_code == 0:
            return None
        if last.startswith("MemoryError"):
            return "memory_limit", last
        if _refused_by_compiler(result.stderr):
            return "does_not_compile", last
        return "runtime_error", last or f"exit code {result.return_code}"


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
    return f"{_harness()}\n\nmain(*{arguments!a})\n"


def _defined(setup: str) -> list[str]:
    """Names that the set-up defines."""
    table = symtable.symtable(setup, "<setup>", "exec")
    return [symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()]


@cache
def _harness() -> str:
    return files(__package__).joinpath("harness.py").read_text(encoding="utf-8")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refused_by_compiler(stderr: str) -> bool:
    """Whether Python did not start a script: it then prints the place without a traceback."""
    return stderr.lstrip("\n").startswith('  File "') and "Traceback (most recent call last)" not in stderr


def _last_line(stderr: str) -> str:
    lines = stderr.strip().splitlines()
    return lines[-1].strip() if lines else ""
