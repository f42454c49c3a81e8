"""Sentences that stand beside the steps of a math trace: harmless ones for good traces, pointless ones as a flaw.

Both come in the same words, so that the wording of a remark tells nothing of its worth: what differs is whether its
numbers belong to the solution.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from fractions import Fraction

from tracelift_ray.dataset.math_rules.equations import WITHHELD, evaluate, find_equations, numbers_of, write_number

_GIVEN = ("Given: {}", "From the problem: {}", "We know this: {}", "The problem says: {}")
_ASKED = ("To find: {}", "The question: {}", "What is asked: {}")
_LEADS = ("Note that {}.", "Also, {}.", "Keep in mind that {}.", "Besides, {}.", "Here {}.", "We see that {}.")
_SHAPES = {
    "+": ("{a} and {b} together make {a}+{b} = {c}", "adding {b} to {a} gives {a}+{b} = {c}"),
    "-": ("{a} is {c} more than {b}, since {a}-{b} = {c}", "taking {b} from {a} leaves {a}-{b} = {c}"),
    "*": ("{a} times {b} is {a}*{b} = {c}", "multiplying {a} by {b} gives {a}*{b} = {c}"),
    "/": ("{a} divided by {b} is {a}/{b} = {c}", "one of {b} equal parts of {a} is {a}/{b} = {c}"),
}
_INVERSE = {"+": "-", "-": "+", "*": "/", "/": "*"}
_QUOTES = tuple(form.partition("{}")[0] for form in (*_GIVEN, *_ASKED))
_STARTS = tuple(form.partition("{}")[0] for form in _LEADS)
_SENTENCE = re.compile(r"(?<=[.?!])\s+(?=[A-Z\"'])")
_SIMPLE = re.compile(r"\s*\$?([\d.,]+)\s*([-+*/])\s*\$?([\d.,]+)\s*")
_MAX_SENTENCE_CHARS = 110
#: Share of the remarks that are calculations where the steps allow one.
_CALCULATED = 0.75
_MAX_VALUE = 10**6


def _pattern() -> re.Pattern[str]:
    """What every calculation in words looks like, with any numbers."""
    forms = (lead.format(shape) for lead in _LEADS for shapes in _SHAPES.values() for shape in shapes)
    return re.compile("|".join(re.sub(r"\\{[abc]\\}", r"[\\d.,]*\\d", re.escape(form)) for form in forms))


_CALCULATION = _pattern()


def is_remark(line: str) -> bool:
    """Whether a line is one of this module's sentences; a step that begins with the same word is none."""
    if line.startswith(_STARTS):
        return _CALCULATION.fullmatch(line) is not None
    return line.startswith(_QUOTES)


def sound_remark(statement: str, lines: Sequence[str], rng: random.Random) -> tuple[int, str] | None:
    """A true and relevant remark, and the index of ``lines`` that it stands before: a sentence of the statement, what
    is asked, or a step seen from the other side."""
    makers = [_restated, _asked]
    rng.shuffle(makers)
    makers.insert(0 if rng.random() < _CALCULATED else 2, _seen_again)
    made = (make(statement, lines, rng) for make in makers)
    return next((remark for remark in made if remark is not None), None)


def pointless_remark(statement: str, lines: Sequence[str], rng: random.Random) -> tuple[int, str] | None:
    """A true calculation with numbers of the problem that nothing needs, and the index it stands before."""
    index = rng.randrange(1, len(lines)) if len(lines) > 1 else 0
    known = sorted(numbers_of(statement) | {e.value for line in lines[:index] for e in find_equations(line)})
    used = {frozenset(e.operands) for line in lines for e in find_equations(line)}
    results = {e.value for line in lines for e in find_equations(line)}
    pairs = [(a, b) for a in known for b in known if a > b > 1 and frozenset((a, b)) not in used]
    for a, b in rng.sample(pairs, len(pairs)):
        for sign in rng.sample("+-*/", 4):
            text = _calculation(a, sign, b, rng)
            value = evaluate(f"{write_number(a)}{sign}{write_number(b)}")
            if text is not None and value not in results and value not in known:
                return index, text
    return None


def _restated(statement: str, lines: Sequence[str], rng: random.Random) -> tuple[int, str] | None:
    told = [s for s in _SENTENCE.split(statement) if s.endswith(".") and len(s) <= _MAX_SENTENCE_CHARS]
    told = [s for s in told if numbers_of(s)]
    return (0, rng.choice(_GIVEN).format(rng.choice(told))) if told else None


def _asked(statement: str, lines: Sequence[str], rng: random.Random) -> tuple[int, str] | None:
    questions = [s for s in _SENTENCE.split(statement) if s.endswith("?") and len(s) <= _MAX_SENTENCE_CHARS]
    return (0, rng.choice(_ASKED).format(questions[-1])) if questions else None


def _seen_again(statement: str, lines: Sequence[str], rng: random.Random) -> tuple[int, str] | None:
    """An earlier equation of two numbers, turned round."""
    found = []
    for index, line in enumerate(lines[:-1]):
        for equation in find_equations(line):
            parts = _SIMPLE.fullmatch(line[slice(*equation.left)])
            if parts is not None and not equation.withheld and len(equation.operands) == 2:
                found.append((index, equation.value, _INVERSE[parts[2]], equation.operands))
    for index, value, sign, (a, b) in rng.sample(found, len(found)):
        text = _calculation(value, sign, b, rng)
        if text is not None and a > 1 and b > 1:
            return index + 1, text
    return None


def _calculation(a: Fraction, sign: str, b: Fraction, rng: random.Random) -> str | None:
    """``a sign b`` in a sentence; None where its value is no whole number, as small talk about it would sound odd."""
    value = evaluate(f"{write_number(a)}{sign}{write_number(b)}") if write_number(a) and write_number(b) else None
    if value is None or value.denominator != 1 or not 1 < value < _MAX_VALUE or WITHHELD in str(value):
        return None
    numbers = {"a": write_number(a), "b": write_number(b), "c": write_number(value)}
    return rng.choice(_LEADS).format(rng.choice(_SHAPES[sign]).format(**numbers))
