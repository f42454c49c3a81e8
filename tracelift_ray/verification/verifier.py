"""One verdict for one artifact, whatever its task: the entry to this package.

Verdicts on programs are remembered: the samples of a group repeat one another, and running a program costs far more
than looking it up. What ran out of time is not remembered, because the next time the machine may be less busy.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from tracelift_ray.config.schema import VerifierConfig
from tracelift_ray.types import Artifact, CodeTests, Problem, Verdict
from tracelift_ray.verification.code_process import CodeLimits
from tracelift_ray.verification.code_runner import CodeRunner, SubprocessRunner
from tracelift_ray.verification.math_answers import MathAnswers

BACKENDS = ("subprocess",)
#: Verdicts on programs that are remembered.
MEMORY = 20_000


class Verifier:
    """Checks artifacts. Safe to use from several threads; processes are started when they are first needed.

    Raises:
        ValueError: an unknown ``verifier.backend``.
    """

    def __init__(self, config: VerifierConfig) -> None:
        self._math = MathAnswers(config.math_timeout_s)
        self._code = RememberingRunner(build_runner(config), MEMORY)

    def verify(self, problem: Problem, artifact: Artifact) -> Verdict:
        """The verdict on ``artifact``. Blocks for as long as the verifier's limits allow.

        Raises:
            InfrastructureError: a process of the verifier could not be started or failed.
            ValueError: the problem has no reference answer (math) or no tests (code).
        """
        if problem.task == "math":
            if problem.answer is None:
                raise ValueError(f"problem {problem.id}: a math problem without a reference answer cannot be verified")
            if artifact.content is None:
                return Verdict("no_artifact")
            return self._math.verify(artifact.content, problem.answer)
        if problem.tests is None or not len(problem.tests):
            raise ValueError(f"problem {problem.id}: a code problem without tests cannot be verified")
        if artifact.content is None:
            return Verdict("no_artifact", 0, len(problem.tests))
        return self._code.run(artifact.content, problem.tests)

    def close(self) -> None:
        """End every process. A check in progress raises InfrastructureError."""
        self._math.close()
        self._code.close()


def build_runner(config: VerifierConfig) -> CodeRunner:
    """The code runner that ``verifier.backend`` names."""
    if config.backend != "subprocess":
        raise ValueError(f"verifier.backend={config.backend!r}: one of {', '.join(BACKENDS)}")
    return SubprocessRunner(CodeLimits(config.cpu_s, config.wall_s, config.memory_mib, config.output_kib))


class RememberingRunner:
    """A code runner that remembers the last ``size`` verdicts of another, all under that runner's limits."""

    def __init__(self, runner: CodeRunner, size: int) -> None:
        self._runner = runner
        self._size = size
        self._verdicts: OrderedDict[bytes, Verdict] = OrderedDict()
        self._lock = threading.Lock()

    def run(self, program: str, tests: CodeTests) -> Verdict:
        """As ``CodeRunner.run``."""
        key = hashlib.sha256(repr((program, tests)).encode("utf-8", "surrogatepass")).digest()
        with self._lock:
            known = self._verdicts.get(key)
            if known is not None:
                self._verdicts.move_to_end(key)
                return known
        verdict = self._runner.run(program, tests)
        if verdict.outcome != "time_limit":
            with self._lock:
                self._verdicts[key] = verdict
                if len(self._verdicts) > self._size:
                    self._verdicts.popitem(last=False)
        return verdict

    def close(self) -> None:
        """As ``CodeRunner.close``."""
        self._runner.close()
