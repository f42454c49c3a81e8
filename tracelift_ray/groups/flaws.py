"""Flaws that are put into a worked math solution by rule, each with the rubric that follows from what was done.

A solution is a list of lines, one step each; ``?`` may stand for its last result. Every flaw returns changed lines,
or None where the solution offers no place for it. What a flaw changes is wrong for certain: it changes a correct
equation, or the order or presence of a step that a later one builds on.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from tracelift_ray.groups.equations import (
    WITHHELD,
    Equation,
    evaluate,
    find_equations,
    numbers_of,
    replace_numbers,
    write_number,
)

Lines = tuple[str, ...]
_OTHER_OPERATIONS = {"+": "-*", "-": "+", "*": "+-", "/": "*-", "x": "+-", "\u00d7": "+-", "\u00f7": "*-"}


@dataclass(frozen=True)
class Flaw:
    """One way to spoil a solution.

    Attributes:
        kind: its name in the negative bank.
        labels: the rubric of a solution with it, each 0..4, in the order of ``types.MATH_DIMENSIONS``.
        apply: (lines, statement, rng) -> the spoiled lines, or None.
    """

    kind: str
    labels: tuple[int, int, int, int, int]
    apply: Callable[[Lines, str, random.Random], Lines | None]


def arithmetic_slip(lines: Lines, statement: str, rng: random.Random) -> Lines | None:
    """One result is written wrong; the steps after it go on from the right one."""
    place = _pick_equation(lines, rng, written=True)
    if place is None:
        return None
    index, equation = place
    wrong = _near(equation.value, rng)
    return None if wrong is None else _with_line(lines, index, _splice(lines[index], equation.result, wrong))


def carried_slip(lines: Lines, statement: str, rng: random.Random) -> Lines | None:
    """One result is wrong, and every later step builds on it correctly."""
    place = _pick_equation(lines[:-1], rng, written=True)
    if place is None:
        return None
    index, equation = place
    wrong = _near(equation.value, rng)
    if wrong is None or equation.value in numbers_of(statement):
        return None
    changed = _with_line(lines, index, _splice(lines[index], equation.result, wrong))
    carried = _carry(changed, index + 1, {equation.value: wrong}, statement)
    return carried if carried is not None and carried[index + 1 :] != lines[index + 1 :] else None


def wrong_operation(lines: Lines, statement: str, rng: random.Random) -> Lines | None:
    """One step uses another operation, computes it correctly, and later steps build on the result."""
    place = _pick_equation(lines, rng)
    if place is None:
        return None
    index, equation = place
    line = lines[index]
    left = line[slice(*equation.left)]
    signs = [at for at, sign in enumerate(left) if sign in _OTHER_OPERATIONS]
    at = rng.choice(signs)
    other = left[:at] + rng.choice(_OTHER_OPERATIONS[left[at]]) + left[at + 1 :]
    value = evaluate(other)
    written = None if value is None or value == equation.value else write_number(value)
    if written is None:
        return None
    result = WITHHELD if equation.withheld else written
    changed = _with_line(lines, index, _splice(_splice(line, equation.result, result), equation.left, other))
    if equation.withheld or equation.value in numbers_of(statement):
        return changed
    return _carry(changed, index + 1, {equation.value: written}, statement)


def dropped_step(lines: Lines, statement: str, rng: random.Random) -> Lines | None:
    """A step that a later one builds on is missing."""
    needed = [index for index in range(len(lines) - 1) if _is_used_later(lines, index, statement)]
    if not needed:
        return None
    index = rng.choice(needed)
    return lines[:index] + lines[index + 1 :]


def swapped_steps(lines: Lines, statement: str, rng: random.Random) -> Lines | None:
    """A step stands before the one whose result it uses."""
    dependent = [
        index for index in range(len(lines) - 1) if _results(lines[index], statement) & numbers_of(lines[index + 1])
    ]
    if not dependent:
        return None
    index = rng.choice(dependent)
    return (*lines[:index], lines[index + 1], lines[index], *lines[index + 2 :])


#: The labels say what the flaw harms: the understanding of the problem, the strategy, the coherence of the steps, the
#: correctness of the calculations, and whether the trace supports the right answer.
FLAWS: tuple[Flaw, ...] = (
    Flaw("arithmetic_slip", (4, 4, 2, 0, 2), arithmetic_slip),
    Flaw("carried_slip", (4, 4, 4, 1, 0), carried_slip),
    Flaw("wrong_operation", (2, 0, 3, 4, 0), wrong_operation),
    Flaw("dropped_step", (3, 1, 1, 4, 1), dropped_step),
    Flaw("swapped_steps", (4, 3, 0, 4, 3), swapped_steps),
)


def _pick_equation(lines: Sequence[str], rng: random.Random, *, written: bool = False) -> tuple[int, Equation] | None:
    """A random equation, of those whose result is ``written`` or of all, and its line's index."""
    found = [(index, equation) for index, line in enumerate(lines) for equation in find_equations(line)]
    places = [place for place in found if not (written and place[1].withheld)]
    return rng.choice(places) if places else None


def _near(value: Fraction, rng: random.Random) -> str | None:
    """A number that a slip could have made of ``value``: a unit, ten, or a tenth of it away."""
    steps = [Fraction(1), Fraction(2), Fraction(10), Fraction(max(1, round(value / 10)))]
    return write_number(value + rng.choice(steps) * rng.choice((-1, 1)))


def _carry(lines: Lines, start: int, changes: dict[Fraction, str], statement: str) -> Lines | None:
    """Lines from ``start`` on, computed with the changed numbers; numbers of the statement stay as they are.

    None where a changed step has a result that cannot be written.
    """
    known = numbers_of(statement)
    result = list(lines)
    for index in range(start, len(lines)):
        line, done, end = lines[index], "", 0
        for equation in find_equations(line):
            left = replace_numbers(line[slice(*equation.left)], changes)
            value = evaluate(left)
            written = None if value is None else write_number(value)
            if written is None:
                return None
            if value != equation.value and equation.value not in known:
                changes = {**changes, equation.value: written}
            between = line[equation.left[1] : equation.result[0]]
            shown = WITHHELD if equation.withheld else written
            done += replace_numbers(line[end : equation.left[0]], changes) + left + between + shown
            end = equation.result[1]
        result[index] = done + replace_numbers(line[end:], changes)
    return tuple(result)


def _is_used_later(lines: Lines, index: int, statement: str) -> bool:
    results = _results(lines[index], statement)
    return any(results & numbers_of(line) for line in lines[index + 1 :])


def _results(line: str, statement: str) -> set[Fraction]:
    """The results of a line's equations that the statement does not give."""
    written = {equation.value for equation in find_equations(line) if not equation.withheld}
    return written - numbers_of(statement)


def _with_line(lines: Lines, index: int, line: str) -> Lines:
    return (*lines[:index], line, *lines[index + 1 :])


def _splice(line: str, span: tuple[int, int], text: str) -> str:
    return line[: span[0]] + text + line[span[1] :]
