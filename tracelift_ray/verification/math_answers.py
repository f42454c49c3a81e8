"""Whether a math answer equals the reference answer.

An answer is hostile input. Plain numbers (``tasks.numbers``) are compared here, without evaluating anything; everything
else is compared by math-verify in a separate process, which a warm worker process forks (``math_worker.py``). An
answer that hangs, exhausts memory or crashes fails, within a bound on CPU time. Where the machine is at fault (the
worker does not start or dies, a comparison gets no CPU) there is no verdict but an infrastructure error, after a second
try with a new worker.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from tracelift_ray.errors import InfrastructureError
from tracelift_ray.tasks.answers import last_box
from tracelift_ray.tasks.numbers import plain_number, same_number
from tracelift_ray.types import Outcome, Verdict

#: Longer answers are wrong unread.
MAX_ANSWER_CHARS = 1000
WORKER_FILE = Path(__file__).with_name("math_worker.py")
WORKER_STARTUP_S = 120.0
#: How long an answer may wait for the worker to finish the answers before it.
WORKER_QUEUE_S = 120.0
#: Seconds of wall-clock time for each second of CPU time, and on top, before the machine counts as too busy.
WALL_PER_CPU, WALL_EXTRA_S = 4.0, 10.0
#: How long after that the worker may take to report that.
REPLY_GRACE_S = 10.0
#: What of this process's environment the worker needs; the rest may hold secrets.
WORKER_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")

_LIMITS: dict[str, tuple[Outcome, str]] = {
    "time_limit": ("time_limit", "comparing the answer took more than {seconds:g} s of CPU time"),
    "memory_limit": ("memory_limit", "comparing the answer took too much memory"),
    "runtime_error": ("runtime_error", "comparing the answer ended its process"),
}
_ANSWER_MARK = re.compile(r"####\s*([^\n]*)")
_DELIMITERS = re.compile(r"\$|\\[()\[\]]|\*\*\s*$|^\s*\*\*")
_NAMED = re.compile(r"(?<![\\A-Za-z])(pi|infinity|inf)(?![A-Za-z])", re.IGNORECASE)
_UNREADABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class MathAnswers:
    """Compares answers. Safe to use from several threads; ``close`` ends the worker process.

    Args:
        timeout_s: CPU time that math-verify may spend on one answer.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._worker: MathWorker | None = None
        self._lock = threading.Lock()
        self._closed = False

    def verify(self, answer: str, reference: str) -> Verdict:
        """The verdict on ``answer``: ``passed``, ``wrong_answer``, or the limit that comparing it ran into.

        Raises:
            InfrastructureError: no comparison was possible, twice; the worker was busy for ``WORKER_QUEUE_S``; closed.
        """
        if len(answer) > MAX_ANSWER_CHARS:
            return Verdict("wrong_answer", detail=f"an answer of {len(answer)} characters is not read")
        answer, reference = _bare(answer), _bare(reference)
        if not answer:
            return Verdict("no_artifact")
        if answer == reference:
            return Verdict("passed", 1)
        given, wanted = plain_number(answer), plain_number(reference)
        if given is not None and wanted is not None:
            return _verdict(same_number(given, wanted))
        if _UNREADABLE.search(answer):
            return Verdict("wrong_answer", detail="the answer holds control characters")
        return self._ask(answer=_as_latex(answer), reference=_as_latex(reference))

    def score(self, answer: str, entry: Mapping[str, Any]) -> Verdict:
        """The verdict of the generator of reasoning-gym that made ``entry``: ``passed`` with its full score, else
        ``wrong_answer``, or the limit that scoring ran into. Raises as ``verify``."""
        if len(answer) > MAX_ANSWER_CHARS:
            return Verdict("wrong_answer", detail=f"an answer of {len(answer)} characters is not read")
        return self._ask(answer=answer, entry=dict(entry))

    def close(self) -> None:
        """End the worker process, after the answer that it may be comparing; that and later ones raise
        InfrastructureError."""
        self._closed = True
        with self._lock:
            self._end_worker()

    def _end_worker(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def _ask(self, **question: Any) -> Verdict:
        if not self._lock.acquire(timeout=WORKER_QUEUE_S):
            raise InfrastructureError(
                "verifier",
                f"an answer waited {WORKER_QUEUE_S:g} s for the math worker; check verifier.math_timeout_s and the "
                "number of verifier workers",
            )
        try:
            for _ in range(2):
                reply = self._started().ask(question, self.timeout_s)
                if "outcome" in reply and not self._closed:
                    return self._verdict_of(reply["outcome"])
                self._end_worker()
                if self._closed:
                    raise InfrastructureError("verifier", "closed while an answer was being compared")
            raise InfrastructureError("verifier", f"an answer could not be compared: {reply['failure']}")
        finally:
            self._lock.release()

    def _verdict_of(self, outcome: str) -> Verdict:
        if outcome in ("equal", "unequal"):
            return _verdict(outcome == "equal")
        failure, detail = _LIMITS[outcome]
        return Verdict(failure, detail=detail.format(seconds=self.timeout_s))

    def _started(self) -> MathWorker:
        if self._closed:
            raise InfrastructureError("verifier", "used after it was closed")
        if self._worker is None:
            self._worker = MathWorker()
        return self._worker


class MathWorker:
    """One process of ``math_worker.py``, ready to be asked. Raises InfrastructureError where it does not start."""

    def __init__(self) -> None:
        path = os.pathsep.join(os.path.abspath(path) for path in sys.path if path)
        kept = {name: os.environ[name] for name in WORKER_ENVIRONMENT if name in os.environ}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(WORKER_FILE)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=kept | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
                cwd="/",
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise InfrastructureError("verifier", f"the math worker does not start ({error})") from error
        try:
            ready = self._read_line(WORKER_STARTUP_S)
        except TimeoutError:
            self.kill()
            cause = f"gave no sign of life within {WORKER_STARTUP_S:g} s"
            raise InfrastructureError("verifier", f"the math worker {cause}; check the machine's load") from None
        if ready is None:
            self.kill()
            raise InfrastructureError("verifier", "the math worker ended at once; check that math-verify imports")

    def ask(self, question: Mapping[str, Any], cpu_s: float) -> dict[str, str]:
        """The reply of ``math_worker``: ``outcome``, what comparing says of the answer, or ``failure``."""
        wall_s = WALL_PER_CPU * cpu_s + WALL_EXTRA_S
        line_out = json.dumps({**question, "cpu_s": cpu_s, "wall_s": wall_s})
        try:
            self._write(line_out.encode() + b"\n")
            line = self._read_line(wall_s + REPLY_GRACE_S)
        except BrokenPipeError:
            line = None
        except TimeoutError:
            return {"failure": f"the math worker gave no reply within {wall_s + REPLY_GRACE_S:g} s"}
        return {"failure": "the math worker died"} if line is None else json.loads(line)

    def kill(self) -> None:
        """End the process now. May be called more than once."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        while data:
            data = data[self._process.stdin.write(data) :]

    def _read_line(self, timeout_s: float) -> bytes | None:
        """The next line of the worker; None where it ends first. Raises TimeoutError."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + timeout_s
        line = b""
        while not line.endswith(b"\n"):
            if not wait([self._process.stdout.fileno()], max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            chunk = self._process.stdout.read(65536)  # unbuffered: what there is
            if not chunk:
                return None
            line += chunk
        return line


def _verdict(equal: bool) -> Verdict:
    return Verdict("passed", 1) if equal else Verdict("wrong_answer")


def _bare(text: str) -> str:
    """The answer without a GSM8K mark, a box around it, or math delimiters."""
    mark = _ANSWER_MARK.search(text)
    text = mark[1] if mark is not None else text
    text = last_box(text) or text
    return text.strip().rstrip(".").strip()


def _as_latex(text: str) -> str:
    """Common plain notation as LaTeX, for math-verify: ``2*pi`` becomes ``2*\\pi``, ``x**2`` becomes ``x^2``."""
    text = _DELIMITERS.sub("", text).replace("**", "^").replace("\n", " ")
    return _NAMED.sub(lambda match: "\\pi" if match[1].lower() == "pi" else "\\infty", text).strip()
