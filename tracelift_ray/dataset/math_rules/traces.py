"""Reference traces of math problems with a worked solution: its steps, with the final result withheld.

A trace is one step a line. ``?`` stands for the result of the last equation, which is the answer and is left to the
executor; lines after it that state the answer again are left out.
"""

from __future__ import annotations

import random
import re
from fractions import Fraction

from tracelift_ray.dataset.math_rules.edits import SENTENCE_END
from tracelift_ray.dataset.math_rules.equations import NUMBER, WITHHELD, find_equations, numbers_of, read_number
from tracelift_ray.dataset.math_rules.remarks import sound_remark
from tracelift_ray.dataset.pipeline.stages import Refused
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Problem

_CALCULATOR_NOTE = re.compile(r"<<[^<>]*>>")
_UNKNOWN = re.compile(
    r"(?<![\w'$])[B-HJ-Zb-z](?![\w'])\s*[-+=<>]|\d[A-Wa-wyz](?![\w])\s*[-+=)]|\b[Ll]et\b.*\b(?:be|=|represent)\s"
)
_MIN_STEPS = 2


def math_traces(problem: Problem, rng: random.Random) -> list[str]:
    """As ``stages.TaskRules.traces``, for problems with a worked solution.

    The first trace is the solution. Beside it stand, where they can be made, the same with a harmless remark, so that a
    sentence beside the steps is no sign of a flaw, and the same with one step worked into the step that uses it, so
    that fewer steps are none either.
    """
    lines, task = withheld_steps(problem), task_of(problem.task)
    plain = "\n".join(lines)
    if task.leaks(problem, plain):
        raise Refused("the solution states the answer more than once")
    variants = [plain]
    remark = sound_remark(problem.statement, lines, rng)
    if remark is not None:
        variants.append("\n".join([*lines[: remark[0]], remark[1], *lines[remark[0] :]]))
    shorter = condensed(lines, frozenset(numbers_of(problem.statement)), rng)
    if shorter is not None:
        variants.append("\n".join(shorter))
    return [variant for variant in variants if variant == plain or not task.leaks(problem, variant)]


def condensed(lines: list[str], known: frozenset[Fraction], rng: random.Random) -> list[str] | None:
    """The steps with one of them worked into the only place that uses its result: ``48/2 = 24`` and ``48+24 = ?``
    become ``48+(48/2) = ?``. None where there is no such step. A result that equals one of the ``known`` numbers of the
    statement could be meant or not.
    """
    places = list(range(len(lines) - 1))
    for index in rng.sample(places, len(places)):
        found = find_equations(lines[index])
        if len(found) != 1 or found[0].withheld or found[0].value in known:
            continue
        mentions = [
            (at, match.span())
            for at, line in enumerate(lines)
            for match in NUMBER.finditer(line)
            if at != index and read_number(match.group()) == found[0].value
        ]
        if len(mentions) != 1 or mentions[0][0] < index:
            continue
        (at, (start, end)), expression = mentions[0], lines[index][slice(*found[0].left)].strip()
        line = f"{lines[at][:start].removesuffix('$')}({expression}){lines[at][end:]}"
        if [e.value for e in find_equations(line)] == [e.value for e in find_equations(lines[at])]:
            return [*lines[:index], *lines[index + 1 : at], line, *lines[at + 1 :]]
    return None


def withheld_steps(problem: Problem) -> list[str]:
    """The steps of the problem's solution, ``?`` for its final result.

    Raises Refused where there is no solution, or none whose steps can be followed by rule: it sets up unknowns, has
    fewer than two calculations, or does not end with one that gives the answer.
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
    if answer in numbers_of(rest) or any(numbers_of(later) - {answer} for later in lines[index + 1 :]):
        raise Refused("something follows the final result")
    return [*lines[:index], line[: equation.result[0]] + WITHHELD + rest]


def solution_lines(solution: str) -> list[str]:
    """The steps of a solution: its lines, or its sentences where it is one paragraph; without calculator notes and
    the line of the answer."""
    text = _CALCULATOR_NOTE.sub("", solution).replace("\u2212", "-")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("####")]
    return SENTENCE_END.split(lines[0]) if len(lines) == 1 else lines
