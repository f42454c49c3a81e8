"""Plans of reference programs, and flaws in them by rule: the program is changed in one place and narrated again.

A problem is used where its reference program passes the problem's own tests and can be narrated. A flawed plan is as
fluent as a good one and differs from it only where the program differs. A changed program has to fail the tests before
its plan counts as flawed; one that only does needless work has to pass them. A line of the program that is leaked into
a step changes no result.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator, Mapping
from dataclasses import replace

from tracelift_ray.dataset.code_rules.mutations import COMPLEXITY, STRUCTURE, Change, changed, mutations
from tracelift_ray.dataset.code_rules.narration import Line, narrate, render
from tracelift_ray.dataset.code_rules.program import Program, read_program
from tracelift_ray.dataset.code_rules.trials import Trials
from tracelift_ray.dataset.pipeline.stages import Candidate, LabelTable, Refused
from tracelift_ray.types import Problem

LEAK = "leaked_implementation"
#: What each kind costs: task understanding, plan quality, step coherence, action support, non-leakage.
CODE_LABELS: LabelTable = {
    "wrong_algorithm": ((2, 0, 3, 1, 4), (3, 1, 3, 1, 4)),
    "wrong_data_structure": ((3, 1, 2, 1, 4), (3, 1, 3, 2, 4)),
    "missed_edge_case": ((2, 2, 4, 3, 4), (3, 2, 4, 3, 4)),
    "off_by_one": ((4, 2, 3, 2, 4), (4, 2, 4, 2, 4)),
    "wrong_complexity": ((4, 1, 3, 3, 4), (4, 1, 4, 3, 4)),
    "leaked_implementation": ((4, 4, 3, 4, 0), (4, 4, 3, 4, 0)),
}
#: A flaw may change so many lines of a plan, since a dropped branch takes its lines with it.
MAX_CHANGED_LINES = 4
_MAX_LEAK_CHARS = 90
_LEAKING = ("`{}`", "write `{}`", "use the line `{}`", "the code is {}", "in code: {}", "put down {}")
Lines = tuple[Line, ...]


class CodePlans:
    """The rules for code; ``trials`` runs reference programs and changed ones."""

    def __init__(self, trials: Trials) -> None:
        self._trials = trials

    def traces(self, problem: Problem, rng: random.Random) -> list[str]:
        """As ``stages.TaskRules.traces``: the one plan of the reference program."""
        program = read_program(problem)
        plan = render(narrate(program, problem.statement))
        assert problem.tests is not None
        if not self._trials.passes(program.source, problem.tests):
            raise Refused("the reference program does not pass its own tests in time")
        return [plan]

    def negatives(self, problem: Problem, trace: str, rng: random.Random, count: int) -> list[Candidate]:
        """As ``stages.TaskRules.negatives``; none for a trace that was not narrated from the reference program."""
        try:
            program = read_program(problem)
            plan = narrate(program, problem.statement)
        except Refused:
            return []
        if render(plan) != trace:
            return []
        found: dict[str, list[Change]] = {}
        for kind, change in mutations(program.module):
            found.setdefault(kind, []).append(change)
        sources = {kind: self._narrated(problem, program, plan, kind, found[kind], rng) for kind in sorted(found)}
        return _in_turn(sources | {LEAK: _leaking(plan, rng)}, rng, count, trace)

    def _narrated(
        self, problem: Problem, program: Program, plan: Lines, kind: str, found: list[Change], rng: random.Random
    ) -> Iterator[Candidate]:
        """Plans of changed programs, in random order; each is narrated and run only when it is asked for."""
        assert problem.tests is not None
        for change in rng.sample(found, len(found)):
            spoiled = replace(program, module=changed(program.module, change))
            try:
                lines = narrate(spoiled, problem.statement)
            except Refused:
                continue
            place = _place(plan, lines)
            if place is None:
                continue
            if kind == COMPLEXITY:
                harmful = self._trials.passes(spoiled.source, problem.tests)
            else:
                harmful = self._trials.fails(spoiled.source, problem.tests, plausibly=kind != STRUCTURE)
            if harmful:
                yield Candidate(render(lines), kind, place)


def _place(good: Lines, flawed: Lines) -> float | None:
    """Where the flaw begins, in [0, 1]; None where the plans are the same or differ in too much."""
    ours, theirs = [(line.depth, line.text) for line in good], [(line.depth, line.text) for line in flawed]
    if ours == theirs or max(len(set(ours) - set(theirs)), len(set(theirs) - set(ours))) > MAX_CHANGED_LINES:
        return None
    start = next((at for at, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), len(ours))
    return min(start, len(ours) - 1) / max(1, len(ours) - 1)


def _leaking(plan: Lines, rng: random.Random) -> Iterator[Candidate]:
    """The plan with one step as program text."""
    for at in rng.sample(range(len(plan)), len(plan)):
        line, statement = plan[at], plan[at].statement
        if statement is None or line.text == "otherwise:":
            continue
        if isinstance(statement, ast.If):
            statement = ast.If(statement.test, statement.body, [])
        text = ast.unparse(ast.fix_missing_locations(statement))
        if line.text.endswith(":"):
            text = text.partition("\n")[0].rstrip(":")
        text = "; ".join(part.strip() for part in text.split("\n")).replace(":; ", ": ")
        if len(text) <= _MAX_LEAK_CHARS and (any(sign in text for sign in "([=<>") or text.startswith("for ")):
            leak = rng.choice(_LEAKING).format(text) + ":" * line.text.endswith(":")
            lines = (*plan[:at], replace(line, text=leak), *plan[at + 1 :])
            yield Candidate(render(lines), LEAK, at / max(1, len(plan) - 1))


def _in_turn(sources: Mapping[str, Iterator[Candidate]], rng: random.Random, count: int, good: str) -> list[Candidate]:
    """Up to ``count`` different flawed plans, one of each kind in turn, kinds in random order."""
    waiting = rng.sample(list(sources.values()), len(sources))
    found: dict[str, Candidate] = {}
    while waiting and len(found) < count:
        source = waiting.pop(0)
        flawed = next((each for each in source if each.reasoning not in found and each.reasoning != good), None)
        if flawed is not None:
            found[flawed.reasoning] = flawed
            waiting.append(source)
    return list(found.values())
