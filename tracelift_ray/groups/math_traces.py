"""Reference traces of math problems with a worked solution: its steps, with the final result withheld.

A trace is one step a line. ``?`` stands for the result of the last equation, which is the answer and is left to the
executor; lines after it that state the answer again are left out.
"""

from __future__ import annotations

import random
import re
from fractions import Fraction

from tracelift_ray.groups.equations import WITHHELD, find_equations, numbers_of, read_number
from tracelift_ray.groups.math_remarks import sound_remark
from tracelift_ray.groups.stages import Refused
from tracelift_ray.tasks.traces import leaks_answer
from tracelift_ray.types import Problem

_CALCULATOR_NOTE = re.compile(r"<<[^<>]*>>")
_SENTENCE_END = re.compile(r"(?<=[a-z)\d][.!])\s+(?=[A-Z])")
_UNKNOWN = re.compile(
    r"(?<![\w'$])[B-HJ-Zb-z](?![\w'])\s*[-+=<>]|\d[A-Wa-wyz](?![\w])\s*[-+=)]|\b[Ll]et\b.*\b(?:be|=|represent)\s"
)
_MIN_STEPS = 2


class MathTraces:
    """``stages.ReferenceTraces`` for problems with a worked solution.

    The first trace is the solution; the second, where there is one, the same with a harmless remark in it, so that a
    sentence beside the steps is no sign of a flaw.
    """

    def traces(self, problem: Problem, rng: random.Random) -> list[str]:
        lines = withheld_steps(problem)
        plain = "\n".join(lines)
        if leaks_answer(problem, plain):
            raise Refused("the solution states the answer more than once")
        remark = sound_remark(problem.statement, lines, rng)
        if remark is None:
            return [plain]
        index, text = remark
        remarked = "\n".join([*lines[:index], text, *lines[index:]])
        return [plain] if leaks_answer(problem, remarked) else [plain, remarked]


def withheld_steps(problem: Problem) -> list[str]:
    """The steps of the problem's solution, ``?`` for its final result.

    Raises:
        Refused: there is no solution, or none whose steps can be followed by rule: it sets up unknowns, has fewer than
            two calculations, or does not end with one that gives the answer.
    """
    if not problem.solution:
        raise Refused("no worked solution")
    lines = solution_lines(problem.solution)
    if any(map(_UNKNOWN.search, lines)):
        raise Refused("the solution works with unknowns")
    answer = read_number((problem.answer or "").strip())
    places = [(index, equation) for index, line in enumerate(lines) for equation in find_equations(line)]
    if len(places) < _MIN_STEPS:
        raise Refused("fewer than two calculations that can be read")
    index, equation = places[-1]
    if equation.withheld or answer is None or equation.value != answer:
        raise Refused("the last calculation does not give the answer")
    line = lines[index]
    rest = line[equation.result[1] :]
    earlier = numbers_of(problem.statement) | {number for line in lines[:index] for number in numbers_of(line)}
    if answer in numbers_of(line[: equation.left[0]]) - earlier:
        raise Refused("the result is stated before its calculation")
    if answer in numbers_of(rest) or any(_says_more(later, answer) for later in lines[index + 1 :]):
        raise Refused("something follows the final result")
    return [*lines[:index], line[: equation.result[0]] + WITHHELD + rest]


def solution_lines(solution: str) -> list[str]:
    """The steps of a solution: its lines, or its sentences where it is one paragraph; without calculator notes and
    the line of the answer."""
    text = _CALCULATOR_NOTE.sub("", solution).replace("\u2212", "-")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("####")]
    return _SENTENCE_END.split(lines[0]) if len(lines) == 1 else lines


def _says_more(line: str, answer: Fraction) -> bool:
    """Whether a line after the final calculation does more than state the answer again."""
    return bool(numbers_of(line) - {answer})
