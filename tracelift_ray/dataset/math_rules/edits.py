"""Changes to a worked solution that are carried through to its end: change one thing, and compute on from there.

A solution is a list of lines, one step each; ``?`` may stand for its last result. What cannot be carried through
plausibly (a negative number, a third of a person) makes no edit at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from tracelift_ray.dataset.math_rules.equations import (
    WITHHELD,
    Equation,
    evaluate,
    find_equations,
    replace_numbers,
    write_number,
)
from tracelift_ray.dataset.math_rules.remarks import is_remark

Lines = tuple[str, ...]
Changes = Mapping[Fraction, Fraction]
#: The space between two sentences.
SENTENCE_END = re.compile(r"(?<=[a-z)\d?][.!])\s+(?=[A-Z])")
_MAX_RATIO = 40


@dataclass(frozen=True)
class Step:
    """One equation of a solution and the index of its line."""

    index: int
    equation: Equation


def split_steps(trace: str) -> tuple[Lines, str]:
    """The steps of a trace and what joins them again: its lines, else what stands between semicolons, else its
    sentences."""
    lines = tuple(line for line in trace.splitlines() if line.strip())
    if len(lines) > 1:
        return lines, "\n"
    if " ; " in trace:
        return tuple(trace.split(" ; ")), " ; "
    return tuple(SENTENCE_END.split(trace.strip())), " "


def steps_of(lines: Lines) -> list[Step]:
    """The equations of a solution in order."""
    return [Step(index, equation) for index, line in enumerate(lines) for equation in find_equations(line)]


@dataclass(frozen=True)
class Forced:
    """What is put in place of one equation: its left side, its value, and numbers of the words around it."""

    step: Step
    left: str
    value: Fraction
    words: Changes = field(default_factory=dict)


def recomputed(
    lines: Lines, kept: frozenset[Fraction], changes: Changes, *, start: int = 0, forced: Forced | None = None
) -> Lines | None:
    """Lines from ``start`` on with numbers changed and every equation computed again; results that change so are
    changes for what follows. None where a new result would not be plausible in place of the old one.

    Args:
        kept: values that stand for something else and are never changed as a result, such as numbers of the statement.
        changes: numbers to change from ``start`` on.
        forced: an equation that is not computed but given.
    """
    current = dict(changes)
    result = list(lines)
    for index in range(start, len(lines)):
        given = forced if forced is not None and forced.step.index == index else None
        changed = _line(lines[index], current, kept, given)
        if changed is None:
            return None
        result[index] = changed
    return tuple(result)


def _line(line: str, current: dict[Fraction, Fraction], kept: frozenset[Fraction], forced: Forced | None) -> str | None:
    """One line computed again; adds the results that changed to ``current``."""
    done, end = "", 0
    words = {} if forced is None else forced.words
    for equation in find_equations(line):
        if forced is not None and equation.left == forced.step.equation.left:
            left, value = forced.left, forced.value
        else:
            left = replace_numbers(line[slice(*equation.left)], current)
            computed = evaluate(left)
            if computed is None:
                return None
            value = computed
        shown = WITHHELD if equation.withheld else write_number(value, line[slice(*equation.result)])
        if shown is None or not plausible(value, equation.value):
            return None
        if is_remark(line):
            if value != current.get(equation.value, equation.value):
                return None  # a step seen from the other side, which then is no longer the step's other side
        elif value != equation.value and equation.value not in kept:
            current[equation.value] = value
        done += replace_numbers(line[end : equation.left[0]], {**current, **words}) + left
        done += line[equation.left[1] : equation.result[0]] + shown
        end = equation.result[1]
    return done + replace_numbers(line[end:], {**current, **words})


def plausible(value: Fraction, instead_of: Fraction) -> bool:
    """Whether a result could stand in place of another: above 0, of a like size, and whole where the other is."""
    if value <= 0 or (instead_of.denominator == 1 and value.denominator != 1):
        return False
    if (value == 1) != (instead_of == 1):  # "1 apples" and "3 apple" would give the change away
        return False
    return instead_of == 0 or Fraction(1, _MAX_RATIO) <= value / instead_of <= _MAX_RATIO


def spliced(line: str, span: tuple[int, int], text: str) -> str:
    """``line`` with other text at ``span``."""
    return line[: span[0]] + text + line[span[1] :]


def is_used_after(steps: Sequence[Step], step: Step, known: frozenset[Fraction]) -> bool:
    """Whether an equation on a later line works with the step's result, and not with a number of the statement that
    equals it."""
    value = step.equation.value
    return value not in known and any(value in s.equation.operands for s in steps if s.index > step.index)


def is_single_result(lines: Lines, value: Fraction) -> bool:
    """Whether only one equation results in ``value``, so that later mentions can mean nothing else."""
    return sum(step.equation.value == value for step in steps_of(lines)) == 1
