"""Flaws that are put into a worked math solution by rule.

Every flaw is wrong for certain, changes one thing, and computes on from it, so that the rest of the trace is as fluent
as before. Where a kind makes a trace shorter, a harmless remark fills it up, so that length tells little.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from tracelift_ray.dataset.math_rules.edits import (
    Changes,
    Forced,
    Lines,
    Step,
    is_single_result,
    is_used_after,
    recomputed,
    spliced,
    steps_of,
)
from tracelift_ray.dataset.math_rules.equations import WITHHELD, evaluate, numbers_of, replace_numbers, signs_of
from tracelift_ray.dataset.math_rules.remarks import is_remark, pointless_remark, sound_remark
from tracelift_ray.dataset.math_rules.values import (
    contradicts,
    is_fraction_bar,
    is_spelled,
    misread,
    quantities,
    slipped,
    written_numbers,
)
from tracelift_ray.types import Problem

T = TypeVar("T")
_OTHER_OPERATIONS = {"+": "-*", "-": "+", "*": "+/", "/": "*-"}
_PLAIN_SIGNS = {"x": "*", "\u00d7": "*", "\u00f7": "/", "\u2212": "-", "\u2013": "-"}
_STATED = ("The answer is {}.", "So the answer is {}.", "The final answer is {}.")
#: Share of leaked answers that stand in the place of the withheld result; the others are stated after it.
_FILLED_IN = 0.7
#: Share of the traces made shorter that get a remark. No trace has two, since good ones never have.
_PADDED = 0.3


@dataclass(frozen=True)
class Case:
    """A good trace and what it is about.

    Attributes:
        lines: its steps.
        steps: its equations, those of remarks aside.
        known: the numbers of the statement, which no flaw takes for results.
        quantities: those of them that can be mistaken for others; the parts of 3/4, say, cannot.
    """

    problem: Problem
    lines: Lines
    steps: tuple[Step, ...]
    known: frozenset[Fraction]
    quantities: frozenset[Fraction]

    def left(self, step: Step) -> str:
        """The left side of an equation as written."""
        return self.lines[step.index][slice(*step.equation.left)]


def case_of(problem: Problem, lines: Lines) -> Case:
    """A good trace as a case."""
    steps = tuple(step for step in steps_of(lines) if not is_remark(lines[step.index]))
    known = written_numbers(problem.statement)
    return Case(problem, lines, steps, known, quantities(problem.statement, known))


#: Changed lines and the index of the first line that is wrong, or None where the trace offers no place.
Spoiled = tuple[Lines, int] | None
Flaw = Callable[[Case, random.Random], Spoiled]


def arithmetic_slip(case: Case, rng: random.Random) -> Spoiled:
    """One result is computed wrong, and every later step builds on it."""
    for step in _shuffled(_followed(case), rng) + _shuffled(case.steps, rng):
        value = None if step.equation.withheld else slipped(step.equation.value, rng)
        spoiled = _with_equation(case, step, case.left(step), value)
        if spoiled is not None and is_single_result(case.lines, step.equation.value):
            return spoiled, step.index
    return None


def wrong_operation(case: Case, rng: random.Random) -> Spoiled:
    """One step uses another operation, computes it correctly, and later steps build on the result."""
    options = []
    for step in case.steps:
        left = case.left(step)
        for at in signs_of(left):
            if is_fraction_bar(left, at):
                continue
            for sign in _OTHER_OPERATIONS[_PLAIN_SIGNS.get(left[at], left[at])]:
                against = contradicts(case.lines[step.index], sign)
                options.append((against, rng.random(), step, left[:at] + sign + left[at + 1 :]))
    for _, _, step, left in sorted(options, key=lambda option: option[:2]):
        spoiled = _with_equation(case, step, left, evaluate(left))
        if spoiled is not None:
            return spoiled, step.index
    return None


def swapped_quantities(case: Case, rng: random.Random) -> Spoiled:
    """Two quantities of the problem stand in each other's place in one step, or one stands in another's."""
    options: list[tuple[Step, Changes]] = []
    for step in case.steps:
        used = [value for value in dict.fromkeys(step.equation.operands) if value in case.quantities]
        others = sorted(value for value in case.quantities if value not in used)
        options += [(step, {a: b, b: a}) for i, a in enumerate(used) for b in used[i + 1 :]]
        options += [(step, {a: b}) for a in used for b in others]
    for step, changes in _shuffled(options, rng):
        if any(is_spelled(case.lines[step.index], value) for value in changes) or "%" in case.lines[step.index]:
            continue
        left = replace_numbers(case.left(step), changes)
        spoiled = _with_equation(case, step, left, evaluate(left), changes)
        if spoiled is not None:
            return spoiled, step.index
    return None


def misread_condition(case: Case, rng: random.Random) -> Spoiled:
    """A number of the problem is read as another one, everywhere in the trace, and all is computed with that."""
    results = {step.equation.value for step in case.steps}
    used = {value for step in case.steps for value in step.equation.operands} & case.quantities
    for value in _shuffled(sorted(used - results), rng):
        other = misread(value, case.known | results, rng)
        if other is None or is_spelled("\n".join(case.lines), value):
            continue
        spoiled = recomputed(case.lines, case.known - {value}, {value: other})
        if spoiled not in (None, case.lines) and len(steps_of(spoiled)) == len(steps_of(case.lines)):
            return spoiled, _first_difference(spoiled, case.lines)
    return None


def contradiction(case: Case, rng: random.Random) -> Spoiled:
    """A later step goes on with another value than the one that was found."""
    for step in _shuffled(_followed(case), rng):
        other = _confused(step.equation.value, case, rng)
        if other is None or not is_single_result(case.lines, step.equation.value):
            continue
        changes = {step.equation.value: other}
        spoiled = recomputed(case.lines, case.known, changes, start=step.index + 1)
        if spoiled is not None and spoiled != case.lines:
            return spoiled, _first_difference(spoiled, case.lines)
    return None


def dropped_step(case: Case, rng: random.Random) -> Spoiled:
    """A step that a later one builds on is missing."""
    needed = _followed(case)
    if not needed:
        return None
    index = rng.choice(needed).index
    return _padded(case, case.lines[:index] + case.lines[index + 1 :], rng), index


def swapped_steps(case: Case, rng: random.Random) -> Spoiled:
    """A step stands before the one whose result it uses."""
    lines = case.lines
    next_uses = [
        step.index
        for step in _followed(case)
        for after in case.steps
        if after.index == step.index + 1 and step.equation.value in after.equation.operands
        if not after.equation.withheld
    ]
    if not next_uses:
        return None
    index = rng.choice(next_uses)
    return (*lines[:index], lines[index + 1], lines[index], *lines[index + 2 :]), index


def irrelevant_step(case: Case, rng: random.Random) -> Spoiled:
    """A correct calculation that nothing needs stands between the steps, in place of a remark where there is one."""
    lines = tuple(line for line in case.lines if not is_remark(line))
    made = pointless_remark(case.problem.statement, lines, rng)
    if made is None:
        return None
    index, text = made
    return (*lines[:index], text, *lines[index:]), index


def premature_answer(case: Case, rng: random.Random) -> Spoiled:
    """The trace stops early and takes a result on the way for the last one."""
    ends = [s for s in _followed(case) if s.equation.value not in numbers_of(_around(case, s))]
    if not ends:
        return None
    step = ends[-1] if rng.random() < 0.5 else rng.choice(ends)
    line = case.lines[step.index]
    if case.steps[-1].equation.withheld:
        line = spliced(line, step.equation.result, WITHHELD)
    return _padded(case, (*case.lines[: step.index], line), rng), step.index


def leaked_answer(case: Case, rng: random.Random) -> Spoiled:
    """The final result, which is for the executor to find, is written down."""
    step, answer = case.steps[-1], case.problem.answer
    if answer is None:
        return None
    if step.equation.withheld and rng.random() < _FILLED_IN:
        line = spliced(case.lines[step.index], step.equation.result, answer)
        return (*case.lines[: step.index], line, *case.lines[step.index + 1 :]), step.index
    return (*case.lines, rng.choice(_STATED).format(answer)), len(case.lines) - 1


#: Every flaw; its name is its kind.
FLAWS: tuple[Flaw, ...] = (
    arithmetic_slip, wrong_operation, swapped_quantities, misread_condition, contradiction, dropped_step, swapped_steps,
    irrelevant_step, premature_answer, leaked_answer,
)  # fmt: skip
#: Flaws after which the trace leads to another result than the right one.
CHANGES_RESULT: frozenset[Flaw] = frozenset(
    {arithmetic_slip, wrong_operation, swapped_quantities, misread_condition, contradiction, premature_answer}
)


def _followed(case: Case) -> list[Step]:
    """The equations that a later one builds on."""
    return [step for step in case.steps if is_used_after(case.steps, step, case.known)]


def _with_equation(
    case: Case, step: Step, left: str, value: Fraction | None, words: Changes | None = None
) -> Lines | None:
    """The trace with one equation changed, and all that follows computed from it; None where its value stays."""
    if value is None or value == step.equation.value:
        return None
    return recomputed(case.lines, case.known, {}, start=step.index, forced=Forced(step, left, value, words or {}))


def _confused(value: Fraction, case: Case, rng: random.Random) -> Fraction | None:
    """A value to go on with in place of ``value``: a slip of it, or another result or number of the problem."""
    results = {step.equation.value for step in case.steps if not step.equation.withheld}
    others = sorted(other for other in results | case.known if other != value and value / 3 <= other <= value * 3)
    near = slipped(value, rng)
    if near is not None and (not others or rng.random() < 0.5):
        return near
    return rng.choice(others) if others else None


def _padded(case: Case, lines: Lines, rng: random.Random) -> Lines:
    """``lines`` with a harmless remark, in most cases, unless they have one."""
    if any(map(is_remark, lines)) or rng.random() >= _PADDED:
        return lines
    remark = sound_remark(case.problem.statement, lines, rng)
    if remark is None:
        return lines
    index, text = remark
    return (*lines[:index], text, *lines[index:])


def _around(case: Case, step: Step) -> str:
    """The words before and after an equation on its line."""
    line = case.lines[step.index]
    return line[: step.equation.left[0]] + line[step.equation.result[1] :]


def _first_difference(lines: Lines, others: Lines) -> int:
    return next(i for i, (line, other) in enumerate(zip(lines, others, strict=True)) if line != other)


def _shuffled(values: Sequence[T], rng: random.Random) -> list[T]:
    return rng.sample(values, len(values))
