"""Reference traces for code problems: the reference program, narrated as a plan in plain English.

A problem is used where its reference program passes the problem's own tests and can be said well; every other one is
refused with its reason. ``CodePlans`` also finds a trace's program again, for flaws that follow the program.
"""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass

from tracelift_ray.dataset.code_rules.narration import STYLES, Vocabulary, layout_of, narrate, render, vocabulary
from tracelift_ray.dataset.code_rules.program import Program, read_program
from tracelift_ray.dataset.code_rules.statements import Line
from tracelift_ray.dataset.code_rules.trials import Trials
from tracelift_ray.dataset.code_rules.words import Style
from tracelift_ray.dataset.pipeline.stages import Refused
from tracelift_ray.types import Problem


@dataclass(frozen=True)
class Plan:
    """A plan with what it was made of."""

    program: Program
    words: Vocabulary
    style: Style
    lines: tuple[Line, ...]
    layout: str

    @property
    def text(self) -> str:
        """The plan as a trace."""
        return render(self.lines, self.layout)


class CodeTraces:
    """Implements ``stages.ReferenceTraces`` for code.

    Args:
        trials: where reference programs are run.
    """

    def __init__(self, trials: Trials) -> None:
        self._trials = trials

    def traces(self, problem: Problem, rng: random.Random) -> list[str]:
        """One plan, in a style that ``rng`` chooses of those that suit the program. Raises Refused, and
        InfrastructureError from the sandbox."""
        program = _read(problem)
        plan = _plan_in_some_style(problem, program, rng)
        assert problem.tests is not None
        if not self._trials.passes(program.source, problem.tests):
            raise Refused("the reference program does not pass its own tests in time")
        return [plan.text]


def plan_of(problem: Problem, trace: str) -> Plan | None:
    """The plan that ``trace`` is the text of; None where it was not narrated from the reference program."""
    try:
        program = _read(problem)
    except Refused:
        return None
    for number in range(STYLES):
        with contextlib.suppress(Refused):
            plan = _plan(problem, program, Style(number))
            if plan.text == trace:
                return plan
    return None


def _read(problem: Problem) -> Program:
    if problem.solution is None:
        raise Refused("the data has no reference program")
    if problem.tests is None or problem.tests.kind != "function":
        raise Refused("the reference program is not a function with tests")
    return read_program(problem.solution, problem.tests)


def _plan_in_some_style(problem: Problem, program: Program, rng: random.Random) -> Plan:
    numbers = rng.sample(range(STYLES), STYLES)
    for number in numbers[:-1]:
        with contextlib.suppress(Refused):
            return _plan(problem, program, Style(number))
    return _plan(problem, program, Style(numbers[-1]))


def _plan(problem: Problem, program: Program, style: Style) -> Plan:
    words = vocabulary(program)
    lines = narrate(program, problem.statement, words, style)
    return Plan(program, words, style, lines, layout_of(lines, style))
