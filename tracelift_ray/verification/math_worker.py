"""The process that runs math-verify: reads one question a line on standard input, writes one reply a line.

Run as a file by ``math_answers.MathWorker``; it imports nothing of this project. A question is ``{"answer": LaTeX,
"reference": LaTeX, "cpu_s": seconds, "wall_s": seconds}``, or has an ``entry`` of reasoning-gym in place of the
reference, whose generator then scores the answer. A reply is ``{"outcome": …}`` with what was found out about
the answer, or ``{"failure": cause}`` where the machine kept it from finding out.

Every question is answered in a separate child, forked when the libraries are loaded and warm: an answer that hangs,
exhausts memory or crashes ends only its own child, and leaves no state behind for the next. CPU time decides
what takes too long, so a busy machine fails no answer. Nothing evaluates an answer as Python: math-verify's parser for
plain expressions, which does, is not used.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import select
import signal
import sys
import time
from typing import Any

#: Address space of a child, the libraries included.
MEMORY_BYTES = 1536 * 1024**2
EQUAL, UNEQUAL = "equal", "unequal"
OUTCOMES = {b"=": EQUAL, b"!": UNEQUAL, b"m": "memory_limit"}
#: Each kind of expression once, so that no child has to build the parser's tables for it.
WARM_UP = (
    (r"\frac{\sqrt{3}}{2}", r"\sqrt{3}/2"),
    (r"x^2+2x+1", r"(x+1)^2"),
    (r"(1,2)", r"\left(1, 2\right)"),
    (r"\{1, 2\}", r"\{2, 1\}"),
    (r"[0, \infty)", r"[0,\infty)"),
    (r"\begin{pmatrix}1 & 2\\3 & 4\end{pmatrix}", r"\begin{pmatrix}1 & 2\\3 & 4\end{pmatrix}"),
    (r"\sin(\pi/3)+e^{2i}\cdot\log_2 8", r"3 e^{2 i}+\frac{\sqrt 3}{2}"),
    (r"x \le 5", r"5 \ge x"),
    (r"x=5", r"5"),
    (r"\text{east}", r"east"),
)
_SET_PARENT_DEATH_SIGNAL = 1


def equal(answer: str, reference: str) -> bool:
    """Whether math-verify takes two LaTeX expressions for the same. Raises any error that sympy raises."""
    from math_verify import LatexExtractionConfig, parse, verify

    config = [LatexExtractionConfig()]
    wanted = parse(f"${reference}$", config, parsing_timeout=0)
    given = parse(f"${answer}$", config, parsing_timeout=0)
    return bool(wanted) and bool(given) and verify(wanted, given, timeout_seconds=0)


def full_score(answer: str, entry: dict[str, Any]) -> bool:
    """Whether the generator of an entry gives the answer its full score. Raises any error that its scorer raises."""
    from reasoning_gym import get_score_answer_fn

    return bool(get_score_answer_fn(entry["metadata"]["source_dataset"])(answer, entry) >= 1)


def compare(question: dict[str, Any], report: int, parent: int) -> None:
    """The child: limits itself, compares, writes one byte of ``OUTCOMES`` to ``report``."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # It died before it could be asked to take this process along.
        return
    signal.setitimer(signal.ITIMER_PROF, question["cpu_s"])  # CPU time; unhandled, so it kills.
    for limit, value in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(limit, (value, value))
    try:
        given = question["answer"]
        right = full_score(given, question["entry"]) if "entry" in question else equal(given, question["reference"])
        found = b"=" if right else b"!"
    except MemoryError:
        found = b"m"
    except Exception:  # A hostile expression may raise anything; it is then not shown to be equal.
        found = b"!"
    os.write(report, found)


def reply_to(question: dict[str, Any]) -> dict[str, str]:
    """Answer one question in a child; never raises for what the question does."""
    reading, writing = os.pipe()
    parent = os.getpid()
    try:
        child = os.fork()
    except OSError as error:
        os.close(reading)
        os.close(writing)
        return {"failure": f"no process could be started ({error})"}
    if child == 0:
        try:
            compare(question, writing, parent)
        finally:
            os._exit(0)
    os.close(writing)
    ended = _ends_within(child, question["wall_s"])
    if not ended:
        os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    found = os.read(reading, 1)
    os.close(reading)
    if not ended:
        used = usage.ru_utime + usage.ru_stime
        return {"failure": f"the machine gave a comparison {used:.1f} s of CPU in {question['wall_s']:g} s"}
    return _reading_of(found, os.waitstatus_to_exitcode(status))


def main() -> None:
    """Answers questions until standard input ends."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # What the libraries print is no reply.
    for answer, reference in WARM_UP:
        equal(answer, reference)
    gc.collect()
    gc.freeze()
    print(json.dumps({"ready": True}), file=replies, flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        if "entry" in question:
            import reasoning_gym  # noqa: F401, loaded once in this process and not in each child
        print(json.dumps(reply_to(question)), file=replies, flush=True)


def _ends_within(child: int, seconds: float) -> bool:
    """Whether a child ends in time. Where the one who asks has gone, the child and this process go too."""
    descriptor = os.pidfd_open(child)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.register(sys.stdin.fileno(), 0)  # Reports only that the other end was closed.
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            ready = [ready for ready, _ in poll.poll(max(1, int(left * 1000)))]
            if descriptor in ready:
                return True
            if ready:
                os._exit(0)  # The child follows by its parent-death signal.
        return False
    finally:
        os.close(descriptor)


def _reading_of(found: bytes, exit_code: int) -> dict[str, str]:
    """What a child's byte and its exit code say. A kill from outside says nothing of the answer."""
    if exit_code == -signal.SIGPROF:
        return {"outcome": "time_limit"}
    if exit_code in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT):
        return {"failure": "the process of a comparison was killed from outside (out of memory?)"}
    if exit_code != 0 or found not in OUTCOMES:
        return {"outcome": "runtime_error"}
    return {"outcome": OUTCOMES[found]}


if __name__ == "__main__":
    main()
