"""One verdict for one artifact of any task: the entry to this package.

Verdicts on programs are remembered: the samples of a group repeat one another, and running a program costs far more
than looking it up.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from tracelift_ray.config.schema import SandboxConfig, VerifierConfig
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Artifact, CodeTests, Problem, Verdict
from tracelift_ray.verification.code_runner import CodeRunner, RunnerReport
from tracelift_ray.verification.math_answers import MathAnswers
from tracelift_ray.verification.runners import build_runner, runner_slots

#: Verdicts on programs that are remembered.
MEMORY = 10_000


class Verifier:
    """Checks artifacts. Safe to use from several threads.

    Args:
        stop_early: whether the number of tests that a failing program passes does not matter.
    """

    def __init__(self, config: VerifierConfig, sandbox: SandboxConfig, *, stop_early: bool = False) -> None:
        self.slots = runner_slots(sandbox, config.pool.cpus_per_worker)
        self._sandbox_config = sandbox
        self._stop_early = stop_early
        self._math = MathAnswers(config.math_timeout_s)
        self._starting = threading.Lock()
        self._code: RememberingRunner | None = None
        self._closed = False

    def start_runner(self) -> RunnerReport:
        """Start what runs programs, unless it runs; the first program starts it, too.

        Raises:
            InfrastructureError: programs cannot be run, with reasons and remedy.
        """
        with self._starting:
            if self._closed:
                raise InfrastructureError("verifier", "used after it was closed")
            if self._code is None:
                self._code = RememberingRunner(build_runner(self._sandbox_config, self.slots), MEMORY, self.slots)
            return self._code.report

    def verify(self, problem: Problem, artifact: Artifact) -> Verdict:
        """The verdict on ``artifact``. Blocks for as long as the verifier's limits allow.

        Raises:
            InfrastructureError: a process of the verifier could not be started or failed.
            ValueError: the problem has nothing to check it against.
        """
        return task_of(problem.task).verify(problem, artifact, self)

    def compare_answers(self, answer: str, reference: str) -> Verdict:
        """As ``tasks.base.Tools``."""
        return self._math.verify(answer, reference)

    def score_answer(self, answer: str, entry: Mapping[str, Any]) -> Verdict:
        """As ``tasks.base.Tools``."""
        return self._math.score(answer, entry)

    def run_program(self, program: str, tests: CodeTests) -> Verdict:
        """As ``tasks.base.Tools``."""
        if self._code is None or self._closed:
            self.start_runner()
        assert self._code is not None
        return self._code.run(program, tests, self._stop_early)

    def close(self) -> None:
        """End every process. A check in progress raises InfrastructureError."""
        self._math.close()
        with self._starting:
            self._closed = True
            if self._code is not None:
                self._code.close()


class RememberingRunner:
    """A code runner that remembers the last ``size`` verdicts of another, all under that runner's limits.

    A program that is being run is not run a second time at once: who asks waits for the verdict on the first, and
    takes none of the ``slots`` that run programs.
    """

    def __init__(self, runner: CodeRunner, size: int, slots: int) -> None:
        self._runner = runner
        self.report = runner.report
        self._size = size
        self._verdicts: OrderedDict[bytes, Future[Verdict]] = OrderedDict()
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(slots)

    def run(self, program: str, tests: CodeTests, stop_early: bool = False) -> Verdict:
        """As ``CodeRunner.run``. What raises is not remembered, and raises for all who wait for it."""
        key = hashlib.sha256(repr((program, tests, stop_early)).encode("utf-8", "surrogatepass")).digest()
        with self._lock:
            known = self._verdicts.get(key)
            if known is None:
                mine = self._verdicts[key] = Future()
                if len(self._verdicts) > self._size:
                    self._verdicts.popitem(last=False)
            else:
                self._verdicts.move_to_end(key)
        if known is not None:
            return known.result()  # Bounded: the run is, by the limits of its tests.
        try:
            with self._slots:
                verdict = self._runner.run(program, tests, stop_early)
        except BaseException as error:
            with self._lock:
                if self._verdicts.get(key) is mine:
                    del self._verdicts[key]
            mine.set_exception(error)
            raise
        mine.set_result(verdict)
        return verdict

    def close(self) -> None:
        """As ``CodeRunner.close``."""
        self._runner.close()
