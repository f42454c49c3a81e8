"""Whether what a program wrote is what a stdio test expects.

Runs outside the sandbox on text that a hostile program chose: it evaluates nothing, takes time linear in the lengths
of the two texts, and a difference that it cannot read as a number is a difference.
"""

from __future__ import annotations

import re
from fractions import Fraction

from tracelift_ray.tasks.code_tests import OutputRule
from tracelift_ray.verification.code_runner import TestResult

#: Longer tokens are compared as text only.
MAX_NUMBER_CHARS = 400
MAX_SHOWN_CHARS = 100

#: ASCII white space separates tokens; other Unicode spaces are part of a token.
_TOKEN = re.compile(r"\S+", re.ASCII)
#: A decimal number in ASCII. Not among them: nan, inf, 4_2, hexadecimal, digits of other scripts.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)


def output_result(got: str, expected: str, rule: OutputRule) -> TestResult:
    """What the output of a program says of it."""
    if outputs_match(got, expected, rule):
        return TestResult("passed")
    return TestResult("wrong_answer", shown_difference(got, expected))


def outputs_match(got: str, expected: str, rule: OutputRule) -> bool:
    """Whether ``got`` is ``expected`` under ``rule``. Bytes that are no UTF-8 come in as lone surrogates."""
    if rule.exact:
        return _text(got) == _text(expected)
    written, wanted = _TOKEN.findall(got), _TOKEN.findall(expected)
    if written == wanted:
        return True
    if len(written) != len(wanted) or (rule.abs_tol is None and rule.rel_tol is None):
        return False
    return all(_same_token(one, other, rule) for one, other in zip(written, wanted, strict=True))


def shown_difference(got: str, expected: str) -> str:
    """Both outputs for people: one line, capped, unprintable characters escaped."""
    return f"expected {_shown(expected)}, got {_shown(got)}"


def _text(output: str) -> str:
    return output.replace("\r\n", "\n").removesuffix("\n")


def _same_token(written: str, wanted: str, rule: OutputRule) -> bool:
    if written == wanted:
        return True
    given, reference = _number(written), _number(wanted)
    if given is None or reference is None:
        return False
    allowed = max(Fraction(rule.abs_tol or 0), Fraction(rule.rel_tol or 0) * abs(reference))
    return abs(given - reference) <= allowed


def _number(token: str) -> Fraction | None:
    """The exact value of an ASCII decimal number; None for any other token."""
    if len(token) > MAX_NUMBER_CHARS or _NUMBER.fullmatch(token) is None:
        return None
    return Fraction(token)


def _shown(output: str) -> str:
    text = " ".join(_TOKEN.findall(output[: 4 * MAX_SHOWN_CHARS]))
    return ascii(text[:MAX_SHOWN_CHARS])
