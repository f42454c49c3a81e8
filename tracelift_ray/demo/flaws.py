"""Flawed traces of the demo world: single perturbations by kind, and the habits of a planner that is yet to learn.

``slip`` and ``extra`` are benign: an executor that follows the trace still succeeds. The others mislead it, but for
``leak``, which gives the answer away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from tracelift_ray.demo.traces import LARGEST_WRITTEN, Line, clean_lines, true_result
from tracelift_ray.demo.world import TASK_WORLDS, Operation, WordProblem

HABIT_RATE = 0.7
#: How often the planner misreads a hard phrase, and else errs at random: without its habit, and with it.
MISREAD_RATES = (0.82, 0.76)
NOISE_RATES = (0.35, 0.27)
#: What an operation is mistaken for.
_MISTAKEN: dict[Operation, Operation] = {"+": "-", "-": "+", "*": "+", "/": "-", "-n": "-"}

Perturbation = Callable[[WordProblem, list[Line], Random], list[Line] | None]


def _carry_on(lines: list[Line], start: int) -> list[Line]:
    """Lets the written result of ``lines[start]`` flow through all later lines."""
    lines = list(lines)
    for index in range(start + 1, len(lines)):
        carried = lines[index - 1].after
        assert carried is not None, "only the last line of a trace may withhold its result"
        lines[index] = _worked(replace(lines[index], before=carried))
    return lines


def _worked(line: Line) -> Line:
    """The line with the result of its own operation, where it has one written; never beyond what has a token."""
    if line.after is None:
        return line
    result = true_result(line)
    if result is None:
        result = line.before // max(1, line.operand)
    return replace(line, after=min(LARGEST_WRITTEN, max(0, result)))


def _reworked(lines: list[Line], index: int, line: Line) -> list[Line]:
    """The lines with another one at ``index``, whose written result is computed again, and what follows from it."""
    return _carry_on([*lines[:index], _worked(line), *lines[index + 1 :]], index)


def _wrong_result(lines: list[Line], rng: Random) -> tuple[int, list[Line]] | None:
    """Writes a wrong result on one line before the last (or on the only one); None where it has no result."""
    index = rng.randrange(len(lines) - 1) if len(lines) > 1 else 0
    right = lines[index].after
    if right is None:
        return None
    wrong = abs(right + rng.choice((-3, -2, -1, 1, 2, 3)))
    wrong = wrong + 1 if wrong == right else wrong
    return index, [*lines[:index], replace(lines[index], after=wrong), *lines[index + 1 :]]


def _slip(problem: WordProblem, lines: list[Line], rng: Random) -> list[Line] | None:
    """A written result is wrong; the chain goes on from the true one."""
    slipped = _wrong_result(lines, rng)
    return None if slipped is None else slipped[1]


def _value(problem: WordProblem, lines: list[Line], rng: Random) -> list[Line] | None:
    """A written result is wrong, and all that follows builds on it."""
    slipped = _wrong_result(lines, rng)
    return None if slipped is None else _carry_on(slipped[1], slipped[0])


def _extra(problem: WordProblem, lines: list[Line], rng: Random) -> list[Line] | None:
    """A step that the problem does not tell and that changes nothing."""
    index = rng.randrange(len(lines))
    value = lines[index].before
    idle = Line("+", 0, value, value) if rng.random() < 0.5 else Line("*", 1, value, value)
    return [*lines[:index], idle, *lines[index:]]


def _drop(problem: WordProblem, lines: list[Line], rng: Random) -> list[Line] | None:
    """A step is missing; the rest is worked out without it."""
    if len(lines) < 2:
        return None
    index = rng.randrange(len(lines))
    before = lines[index].before
    rest = [*lines[:index], *lines[index + 1 :]]
    if index < len(rest):
        rest = _reworked(rest, index, replace(rest[index], before=before))
    if TASK_WORLDS[problem.task].answers:
        rest[-1] = replace(rest[-1], after=None)
    return rest


def _swap(problem: WordProblem, lines: list[Line], rng: Random) -> list[Line] | None:
    """The two sides of a subtraction or a division change places; the written result stays."""
    places = [i for i, line in enumerate(lines) if line.operation in ("-", "/", "-n")]
    if not places:
        return None
    index = rng.choice(places)
    line = lines[index]
    if TASK_WORLDS[problem.task].answers:
        swapped = replace(line, before=line.operand, operand=line.before)
    else:
        swapped = replace(line, operation="-n" if line.operation == "-" else "-")
    return [*lines[:index], swapped, *lines[index + 1 :]]


def _wrong_operation(problem: WordProblem, lines: list[Line], rng: Random) -> list[Line] | None:
    """A step does another operation than the problem tells; all that follows builds on it."""
    return _mistake(lines, rng.randrange(len(lines)))


def _mistake(lines: list[Line], index: int) -> list[Line]:
    return _reworked(lines, index, replace(lines[index], operation=_MISTAKEN[lines[index].operation]))


def _operand(problem: WordProblem, lines: list[Line], rng: Random) -> list[Line] | None:
    """A step uses another number than the problem tells; all that follows builds on it."""
    index = rng.randrange(len(lines))
    right = lines[index].operand
    wrong = max(1, right + rng.choice((-2, -1, 1, 2)))
    wrong = wrong + 1 if wrong == right else wrong
    return _reworked(lines, index, replace(lines[index], operand=wrong))


def _leak(problem: WordProblem, lines: list[Line], rng: Random) -> list[Line] | None:
    """The last result is written out; a code trace has nothing of the kind to give away."""
    if not TASK_WORLDS[problem.task].answers:
        return None
    return [*lines[:-1], replace(lines[-1], after=problem.result)]


PERTURBATIONS: dict[str, Perturbation] = {
    "slip": _slip,
    "extra": _extra,
    "value": _value,
    "drop": _drop,
    "swap": _swap,
    "wrong_operation": _wrong_operation,
    "operand": _operand,
    "leak": _leak,
}
KINDS = tuple(PERTURBATIONS)


def miswritten(lines: Sequence[Line], rng: Random) -> tuple[Line, ...] | None:
    """The lines with one written result wrong, near the right one or far, and half the time carried on.

    None where no result is written.
    """
    written = [(index, line.after) for index, line in enumerate(lines) if line.after is not None]
    if not written:
        return None
    index, right = rng.choice(written)
    near = rng.random() < 0.5
    others = [value for value in range(LARGEST_WRITTEN + 1) if value != right and (not near or abs(value - right) <= 3)]
    wrong = [*lines[:index], replace(lines[index], after=rng.choice(others)), *lines[index + 1 :]]
    return tuple(_carry_on(wrong, index) if rng.random() < 0.5 else wrong)


def perturb(problem: WordProblem, kind: str, rng: Random) -> tuple[Line, ...] | None:
    """The clean trace with one flaw of a kind, or None where the problem offers no place for it."""
    lines = PERTURBATIONS[kind](problem, list(clean_lines(problem)), rng)
    return None if lines is None else tuple(lines)


def habitual_lines(problem: WordProblem, rng: Random) -> tuple[Line, ...]:
    """A trace as the untrained planner writes it.

    It has one harmless habit a task, with HABIT_RATE where there is a place for it: in math an idle ``+ 0`` before the
    first step that is no addition, in code a worked example that is off by one after each of these. It misreads the
    first hard phrase with MISREAD_RATES, else errs at random with NOISE_RATES, both more rarely where the habit shows:
    so a reward for success alone strengthens the habit, and does not merely leave it to chance.
    """
    lines, answers = list(clean_lines(problem)), TASK_WORLDS[problem.task].answers
    indulge = _pad if answers else _off_by_one
    habit = rng.random() < HABIT_RATE and indulge(lines) != lines
    hard = [i for i, step in enumerate(problem.steps) if step.hard]
    if hard and rng.random() < MISREAD_RATES[habit]:
        lines = _mistake(lines, hard[0])
    elif rng.random() < NOISE_RATES[habit]:
        kinds = ("value", "drop", "wrong_operation", "operand") if answers else ("drop", "operand")
        lines = list(perturb(problem, rng.choice(kinds), rng) or lines)
    return tuple(indulge(lines) if habit else lines)


def _pad(lines: list[Line]) -> list[Line]:
    for index, line in enumerate(lines):
        if line.operation != "+":
            return [*lines[:index], Line("+", 0, line.before, line.before), *lines[index:]]
    return lines


def _off_by_one(lines: list[Line]) -> list[Line]:
    for index in range(len(lines)):
        line = lines[index]
        if line.operation != "+" and line.after is not None:
            wrong = replace(line, after=min(LARGEST_WRITTEN, line.after + 1))
            lines = _carry_on([*lines[:index], wrong, *lines[index + 1 :]], index)
    return lines
