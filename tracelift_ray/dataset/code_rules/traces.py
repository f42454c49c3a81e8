"""Reference traces for code problems: the reference program, narrated as a plan.

A problem is used where its reference program passes the problem's own tests and can be narrated; every other one is
refused with its reason.
"""

from __future__ import annotations

import random

from tracelift_ray.dataset.code_rules.narration import narrate, render
from tracelift_ray.dataset.code_rules.program import read_program
from tracelift_ray.dataset.code_rules.trials import Trials
from tracelift_ray.dataset.pipeline.stages import Refused
from tracelift_ray.types import Problem


class CodeTraces:
    """Implements ``stages.ReferenceTraces`` for code.

    Args:
        trials: where reference programs are run.
    """

    def __init__(self, trials: Trials) -> None:
        self._trials = trials

    def traces(self, problem: Problem, rng: random.Random) -> list[str]:
        """The one plan of the reference program. Raises Refused, and InfrastructureError from the sandbox."""
        program = read_program(problem)
        plan = render(narrate(program, problem.statement))
        assert problem.tests is not None
        if not self._trials.passes(program.source, problem.tests):
            raise Refused("the reference program does not pass its own tests in time")
        return [plan]
