"""Whether a math answer equals the reference answer.

An answer is hostile input. Plain numbers (``tasks.numbers``) are compared here, without evaluating anything; everything
else is compared by math-verify in one worker process, with a deadline for each answer. An answer that makes the worker
hang or die fails for it: the worker is killed and the next answer gets a new one. Only a worker that cannot be started
is an infrastructure error.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import subprocess
import sys
import threading
import time
from pathlib import Path

from tracelift_ray.tasks.artifacts import last_box
from tracelift_ray.tasks.numbers import plain_number, same_number
from tracelift_ray.types import InfrastructureError, Verdict

#: Longer answers are wrong unread.
MAX_ANSWER_CHARS = 1000
WORKER_FILE = Path(__file__).with_name("math_worker.py")
WORKER_STARTUP_S = 120.0
#: How long an answer may wait for the worker to finish the answers before it.
WORKER_QUEUE_S = 120.0

_ANSWER_MARK = re.compile(r"####\s*([^\n]*)")
_DELIMITERS = re.compile(r"\$|\\[()\[\]]|\*\*\s*$|^\s*\*\*")
_NAMED = re.compile(r"(?<![\\A-Za-z])(pi|infinity|inf)(?![A-Za-z])", re.IGNORECASE)
_UNREADABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class MathAnswers:
    """Compares answers. Safe to use from several threads; ``close`` ends the worker process.

    Args:
        timeout_s: time that math-verify may spend on one answer.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._worker: MathWorker | None = None
        self._lock = threading.Lock()
        self._closed = False

    def verify(self, answer: str, reference: str) -> Verdict:
        """The verdict on ``answer``: ``passed``, ``wrong_answer``, or ``time_limit`` where comparing it did not end.

        Raises:
            InfrastructureError: the worker process cannot be started, or is busy for longer than ``WORKER_QUEUE_S``.
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
        return self._ask(_as_latex(answer), _as_latex(reference))

    def close(self) -> None:
        """End the worker process, after the answer that it may be comparing; that and later ones raise
        InfrastructureError."""
        self._closed = True
        with self._lock:
            if self._worker is not None:
                self._worker.kill()
                self._worker = None

    def _ask(self, answer: str, reference: str) -> Verdict:
        if not self._lock.acquire(timeout=WORKER_QUEUE_S):
            raise InfrastructureError(
                "verifier",
                f"an answer waited {WORKER_QUEUE_S:g} s for the math worker; check verifier.math_timeout_s and the "
                "number of verifier workers",
            )
        try:
            for _ in range(2):
                worker = self._started()
                equal = worker.ask(answer, reference, self.timeout_s)
                if equal is not None and not self._closed:
                    return _verdict(equal)
                worker.kill()
                self._worker = None
                if self._closed:
                    raise InfrastructureError("verifier", "closed while an answer was being compared")
                if worker.timed_out:
                    return Verdict("time_limit", detail=f"comparing the answer took more than {self.timeout_s:g} s")
            return Verdict("runtime_error", detail="comparing the answer ended the math worker, twice")
        finally:
            self._lock.release()

    def _started(self) -> MathWorker:
        if self._closed:
            raise InfrastructureError("verifier", "used after it was closed")
        if self._worker is None:
            self._worker = MathWorker()
        return self._worker


class MathWorker:
    """One process of ``math_worker.py``, ready to be asked. Raises InfrastructureError where it does not start."""

    def __init__(self) -> None:
        self.timed_out = False
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        try:
            self._process = subprocess.Popen(
                [sys.executable, str(WORKER_FILE)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise InfrastructureError("verifier", f"the math worker does not start ({error})") from error
        ready = self._read_line(WORKER_STARTUP_S)
        if ready is None:
            self.kill()
            cause = f"gave no sign of life within {WORKER_STARTUP_S:g} s" if self.timed_out else "ended at once"
            raise InfrastructureError("verifier", f"the math worker {cause}; check that math-verify imports")

    def ask(self, answer: str, reference: str, timeout_s: float) -> bool | None:
        """Whether the two are equal; None where the worker died or, as ``timed_out`` then says, took too long."""
        assert self._process.stdin is not None
        question = json.dumps({"answer": answer, "reference": reference, "timeout_s": timeout_s})
        try:
            self._process.stdin.write(question.encode() + b"\n")
        except BrokenPipeError:
            return None
        line = self._read_line(timeout_s)
        return None if line is None else bool(json.loads(line)["equal"])

    def kill(self) -> None:
        """End the process now. May be called more than once."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _read_line(self, timeout_s: float) -> bytes | None:
        """The next line of the worker; None where it ends first, or where the time passes (``timed_out``)."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline = time.monotonic() + timeout_s
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self.timed_out = True
                    return None
                chunk = os.read(descriptor, 65536)
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
