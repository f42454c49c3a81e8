"""The process that runs math-verify: reads one question a line on standard input, writes one answer a line.

Run as a file by ``math_answers.MathWorker``, which kills it when an answer takes too long; it imports nothing of this
project. A question is ``{"answer": LaTeX, "reference": LaTeX, "timeout_s": seconds}``, its answer ``{"equal": bool}``.
A text that does not parse equals nothing. Memory is limited, so that ``10**10**10`` ends here and not on the host. An
alarm ends the process some time after the deadline of an answer: where the one who asked has died, nobody else would.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys

MEMORY_BYTES = 2 * 1024**3
ALARM_GRACE_S = 10.0


def equal(answer: str, reference: str) -> bool:
    """Whether math-verify takes two LaTeX expressions for the same. Raises whatever sympy raises."""
    from math_verify import LatexExtractionConfig, parse, verify

    config = [LatexExtractionConfig()]
    wanted = parse(f"${reference}$", config, parsing_timeout=0)
    given = parse(f"${answer}$", config, parsing_timeout=0)
    return bool(wanted) and bool(given) and verify(wanted, given, timeout_seconds=0)


def main() -> None:
    """Answers questions until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # What the libraries print is no answer.
    equal("1", "1")
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, question["timeout_s"] + ALARM_GRACE_S)  # Unhandled, so it kills.
        try:
            result = equal(question["answer"], question["reference"])
        except Exception:  # Whatever a hostile expression makes sympy raise, it has not been shown to be equal.
            result = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps({"equal": result}), file=answers, flush=True)


if __name__ == "__main__":
    main()
