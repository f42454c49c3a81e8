"""Traces of the demo world as lines of working: written out, read back, checked, and followed to an artifact.

Math: ``7 + 5 = 12 ; 12 - 3`` writes each step with its result and withholds the last result, which is the answer.
Code: ``n + 7 : 6 -> 13 ; n * 2 : 13 -> 26`` writes each operation with the worked example beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from tracelift_ray.demo.world import TASK_WORLDS, Operation, WordProblem, apply

LARGEST_WRITTEN = 99  # numbers above have no token
_MATH_LINE = re.compile(r"(?P<before>\d+) (?P<operation>[-+*/]) (?P<operand>\d+)(?: = (?P<after>\d+))?")
_CODE_LINE = re.compile(
    r"(?:n (?P<operation>[-+*/]) (?P<operand>\d+)|(?P<minuend>\d+) - n) : (?P<before>\d+) -> (?P<after>\d+)"
)


@dataclass(frozen=True)
class Line:
    """One written step. ``after`` is None where no result is written (math only)."""

    operation: Operation
    operand: int
    before: int
    after: int | None


def clean_lines(problem: WordProblem) -> tuple[Line, ...]:
    """The lines of the one valid trace of a problem."""
    lines = [Line(s.operation, s.operand, s.before, s.after) for s in problem.steps]
    if TASK_WORLDS[problem.task].answers:
        lines[-1] = replace(lines[-1], after=None)
    return tuple(lines)


def render(task: str, lines: Sequence[Line]) -> str:
    """Lines as the text inside the reasoning tag."""
    return " ; ".join(_math_line(line) if TASK_WORLDS[task].answers else _code_line(line) for line in lines)


def _math_line(line: Line) -> str:
    sides = f"{line.before} {line.operation} {line.operand}"
    return sides if line.after is None else f"{sides} = {line.after}"


def _code_line(line: Line) -> str:
    return f"{expression(line)} : {line.before} -> {line.after}"


def expression(line: Line) -> str:
    """A line's operation on ``n`` as Python."""
    return f"{line.operand} - n" if line.operation == "-n" else f"n {line.operation} {line.operand}"


def parse(task: str, reasoning: str) -> tuple[Line, ...] | None:
    """The lines that a text writes, or None where any of it is not in the form of the world."""
    form = _MATH_LINE if TASK_WORLDS[task].answers else _CODE_LINE
    lines = []
    for part in reasoning.strip().split(" ; "):
        match = form.fullmatch(" ".join(part.split()))
        if match is None:
            return None
        found = match.groupdict()
        operation = cast(Operation, found["operation"] or "-n")
        after = None if found["after"] is None else int(found["after"])
        lines.append(Line(operation, int(found["operand"] or found["minuend"]), int(found["before"]), after))
    return tuple(lines)


def is_valid(problem: WordProblem, reasoning: str) -> bool:
    """Whether a trace says exactly the problem's steps, each with its true values, and withholds a math answer."""
    return parse(problem.task, reasoning) == clean_lines(problem)


def true_result(line: Line) -> int | None:
    """What a line's own operation gives for its own operand, written or not."""
    return apply(line.operation, line.before, line.operand)


def artifact_of(task: str, lines: Sequence[Line]) -> str | None:
    """What a faithful reader makes of a trace: the program of its operations, or the answer of its last line.

    None where the last line gives no whole number that has a token.
    """
    if not TASK_WORLDS[task].answers:
        return " ; ".join(["n=int(input())", *(f"n= {expression(line)}" for line in lines), "print(n)"])
    last = lines[-1]
    result = last.after if last.after is not None else true_result(last)
    return str(result) if result is not None and 0 <= result <= LARGEST_WRITTEN else None
