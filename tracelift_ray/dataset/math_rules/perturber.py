"""Makes the flawed copies of a math trace: kinds as even as the trace allows, and none that comes to nothing."""

from __future__ import annotations

import random

from tracelift_ray.dataset.math_rules.edits import Lines, split_steps
from tracelift_ray.dataset.math_rules.flaws import CHANGES_RESULT, FLAWS, Case, Flaw, case_of
from tracelift_ray.dataset.math_rules.remarks import is_remark
from tracelift_ray.dataset.pipeline.stages import Candidate, LabelTable
from tracelift_ray.types import Problem

#: Share of the flawed copies that keep the remark of a trace. With the pointless remarks among the flaws, remarks are
#: then about as frequent in flawed traces as in good ones.
_KEEPS_REMARK = 0.5
_TRIES_PER_NEGATIVE = 8
#: What each kind costs: understanding, strategy, coherence, calculation, answer support.
MATH_LABELS: LabelTable = {
    "arithmetic_slip": ((4, 4, 3, 0, 0), (4, 4, 3, 1, 1)),
    "wrong_operation": ((2, 0, 2, 4, 0), (3, 1, 2, 4, 0)),
    "swapped_quantities": ((0, 1, 3, 4, 0), (1, 2, 3, 4, 0)),
    "misread_condition": ((0, 2, 4, 4, 0), (1, 3, 4, 4, 0)),
    "contradiction": ((3, 3, 0, 3, 0), (3, 3, 0, 3, 1)),
    "dropped_step": ((3, 1, 1, 4, 1), (3, 1, 1, 4, 1)),
    "swapped_steps": ((4, 3, 0, 4, 3), (4, 3, 1, 4, 3)),
    "irrelevant_step": ((3, 2, 2, 4, 3), (4, 2, 2, 4, 3)),
    "premature_answer": ((2, 0, 3, 4, 0), (2, 1, 3, 4, 0)),
    "leaked_answer": ((4, 3, 4, 4, 0), (4, 3, 4, 4, 1)),
}


def math_negatives(problem: Problem, trace: str, rng: random.Random, count: int) -> list[Candidate]:
    """As ``stages.TaskRules.negatives``."""
    lines, joint = split_steps(trace)
    whole = case_of(problem, lines)
    bare = case_of(problem, tuple(line for line in whole.lines if not is_remark(line)))
    if not bare.steps:
        return []
    made: dict[str, Candidate] = {}
    order = rng.sample(FLAWS, len(FLAWS))
    for attempt in range(_TRIES_PER_NEGATIVE * count):
        if len(made) == count:
            break
        flaw = order[attempt % len(order)]
        case = whole if rng.random() < _KEEPS_REMARK else bare
        spoiled = flaw(case, rng)
        if spoiled is not None and spoiled[0] != case.lines and not _harmless(case, flaw, spoiled[0]):
            text, place = joint.join(spoiled[0]), spoiled[1] / max(1, len(case.lines) - 1)
            made.setdefault(text, Candidate(text, flaw.__name__, round(place, 3)))
    return list(made.values())


def _harmless(case: Case, flaw: Flaw, lines: Lines) -> bool:
    """Whether a flaw that should lead to another result does not: the change came to nothing on the way, or to the same
    by chance. A trace that withholds no result does not show it."""
    last = case.steps[-1].equation
    if flaw not in CHANGES_RESULT or not last.withheld:
        return False
    steps = case_of(case.problem, lines).steps
    return bool(steps) and steps[-1].equation.value == last.value
