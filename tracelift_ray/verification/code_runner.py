"""Runs a program against its tests and says what became of it.

``CodeRunner`` is the interface. ``SubprocessRunner`` gives every test a process of its own, with limits on CPU and wall
time, memory, output and file size, an empty environment, and a directory that is removed afterwards. That keeps the
accidents of generated code away from the host. It is no jail: a program that means harm can read files, open sockets,
and look into its own process for the secret by which a function test reports its pass.
"""

from __future__ import annotations

import secrets
import signal
from typing import Protocol

from tracelift_ray.types import CodeTests, Outcome, Verdict
from tracelift_ray.verification.code_process import CodeLimits, Ending, Job, ProcessServer
from tracelift_ray.verification.code_server import DOES_NOT_COMPILE, OUT_OF_MEMORY, WRONG_ANSWER

MAX_PROGRAM_CHARS = 100_000
MAX_DETAIL_CHARS = 300


class CodeRunner(Protocol):
    """Runs programs. Methods may be called from several threads."""

    def run(self, program: str, tests: CodeTests, stop_early: bool = False) -> Verdict:
        """Runs every test; the outcome is that of the first that fails. Raises InfrastructureError.

        Args:
            stop_early: whether the tests after the first that fails may be left out.
        """
        ...

    def close(self) -> None:
        """End all processes. A run in progress raises InfrastructureError."""
        ...


class SubprocessRunner:
    """Runs each test in a process forked from a clean interpreter."""

    def __init__(self, limits: CodeLimits) -> None:
        self.limits = limits
        self._server = ProcessServer(limits)

    def run(self, program: str, tests: CodeTests, stop_early: bool = False) -> Verdict:
        """Runs every test of ``tests``, in order; the outcome is that of the first that fails.

        Programs are Python with the standard library. A program that does not compile is not run further.

        Raises:
            InfrastructureError: no process could be started or reported back, or the runner was closed.
            ValueError: there are no tests.
        """
        if not len(tests):
            raise ValueError("a program cannot be judged without tests; problems without tests are refused at load")
        if len(program) > MAX_PROGRAM_CHARS:
            return Verdict("does_not_compile", 0, len(tests), f"a program of {len(program)} characters is not run")
        passed = 0
        failure: tuple[Outcome, str] | None = None
        for index in range(len(tests)):
            outcome, detail = self._test(program, tests, index)
            if outcome == "does_not_compile":
                return Verdict(outcome, 0, len(tests), detail[:MAX_DETAIL_CHARS])
            passed += outcome == "passed"
            if outcome != "passed" and failure is None:
                failure = outcome, f"test {index + 1} of {len(tests)}: {detail}"
        if failure is None:
            return Verdict("passed", passed, len(tests))
        return Verdict(failure[0], passed, len(tests), failure[1][:MAX_DETAIL_CHARS])

    def close(self) -> None:
        """End all processes. A run in progress raises InfrastructureError."""
        self._server.close()

    def _test(self, program: str, tests: CodeTests, index: int) -> tuple[Outcome, str]:
        if tests.kind == "stdio":
            ending = self._server.execute(Job(program, stdin=tests.inputs[index]))
            return self._failure(ending) or _compare(ending.stdout, tests.outputs[index])
        secret = secrets.token_bytes(16)
        job = Job(program, "", tests.setup, tests.asserts[index], tests.entry_point, secret)
        ending = self._server.execute(job)
        if ending.report == secret and not self._limit(ending):
            return "passed", ""
        return self._failure(ending) or ("runtime_error", "ended before its test did")

    def _failure(self, ending: Ending) -> tuple[Outcome, str] | None:
        """What the process's own end says of it, or None where it ended in order."""
        words = _last_line(ending.stderr) or f"exit code {ending.exit_code}"
        limit = self._limit(ending)
        if limit is not None:
            return limit, words
        if ending.report == DOES_NOT_COMPILE:
            return "does_not_compile", words
        if ending.report == WRONG_ANSWER:
            return "wrong_answer", words
        return ("runtime_error", words) if ending.exit_code != 0 else None

    def _limit(self, ending: Ending) -> Outcome | None:
        """The limit that ended the process, if one did."""
        if ending.flooded:
            return "output_limit"
        if ending.timed_out or ending.cpu_s > self.limits.cpu_s or ending.exit_code == -signal.SIGXCPU:
            return "time_limit"
        return "memory_limit" if ending.report == OUT_OF_MEMORY else None


def _compare(stdout: bytes, expected: str) -> tuple[Outcome, str]:
    """Outputs are the same where they are the same tokens between white space."""
    written, wanted = stdout.split(), expected.encode("utf-8", "surrogateescape").split()
    if written == wanted:
        return "passed", ""
    shown = [b" ".join(tokens[:20]).decode(errors="replace")[:100] for tokens in (wanted, written)]
    return "wrong_answer", f"expected {shown[0]!r}, got {shown[1]!r}"


def _last_line(stderr: bytes) -> str:
    """The last line that a process wrote to stderr, which names the exception that ended it."""
    lines = stderr.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""
