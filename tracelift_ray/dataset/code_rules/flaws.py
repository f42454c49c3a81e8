"""Flaws in plans, by rule: the program behind a plan is changed in one place and narrated again.

So a flawed plan is as fluent as a good one and differs from it only where the program differs. A changed program has
to fail the problem's tests before its plan counts as flawed; one that only does needless work has to pass them. A
leaked line of the program changes no result: it is put into a step.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator, Mapping
from dataclasses import replace

from tracelift_ray.dataset.code_rules.mutations import COMPLEXITY, STRUCTURE, mutations
from tracelift_ray.dataset.code_rules.narration import Line, narrate, render
from tracelift_ray.dataset.code_rules.program import Program, read_program
from tracelift_ray.dataset.code_rules.rubrics import KINDS
from tracelift_ray.dataset.code_rules.trials import Trials
from tracelift_ray.dataset.pipeline.stages import Flawed, Refused
from tracelift_ray.types import Problem

LEAK = "leaked_implementation"
#: A flaw may change so many lines of a plan, since a dropped branch takes its lines with it.
MAX_CHANGED_LINES = 4
_MAX_LEAK_CHARS = 90
_LEAKING = ("`{}`", "write `{}`", "use the line `{}`", "the code is {}", "in code: {}", "put down {}")
Lines = tuple[Line, ...]


class CodePerturber:
    """Implements ``stages.Perturber`` for code.

    Args:
        trials: where changed programs are run.
    """

    kinds = KINDS

    def __init__(self, trials: Trials) -> None:
        self._trials = trials

    def negatives(self, problem: Problem, trace: str, rng: random.Random, count: int) -> list[Flawed]:
        """As ``stages.Perturber``; none for a trace that was not narrated from the reference program. Raises
        InfrastructureError from the sandbox."""
        try:
            program = read_program(problem)
            plan = narrate(program, problem.statement)
        except Refused:
            return []
        if render(plan) != trace:
            return []
        found: dict[str, list[ast.Module]] = {}
        for kind, module in mutations(program.module):
            found.setdefault(kind, []).append(module)
        sources = {kind: self._narrated(problem, program, plan, kind, found[kind], rng) for kind in sorted(found)}
        return _in_turn(sources | {LEAK: _leaking(plan, rng)}, rng, count, trace)

    def _narrated(
        self, problem: Problem, program: Program, plan: Lines, kind: str, found: list[ast.Module], rng: random.Random
    ) -> Iterator[Flawed]:
        """Plans of changed programs, in random order; each is narrated and run only when it is asked for."""
        assert problem.tests is not None
        for module in rng.sample(found, len(found)):
            changed = replace(program, module=module)
            try:
                lines = narrate(changed, problem.statement)
            except Refused:
                continue
            place = _place(plan, lines)
            if place is None:
                continue
            if kind == COMPLEXITY:
                harmful = self._trials.passes(changed.source, problem.tests)
            else:
                harmful = self._trials.fails(changed.source, problem.tests, plausibly=kind != STRUCTURE)
            if harmful:
                yield Flawed(render(lines), kind, place)


def _place(good: Lines, flawed: Lines) -> float | None:
    """Where the flaw begins, in [0, 1]; None where the plans are the same or differ in too much."""
    ours, theirs = [(line.depth, line.text) for line in good], [(line.depth, line.text) for line in flawed]
    if ours == theirs or max(len(set(ours) - set(theirs)), len(set(theirs) - set(ours))) > MAX_CHANGED_LINES:
        return None
    start = next((at for at, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), len(ours))
    return min(start, len(ours) - 1) / max(1, len(ours) - 1)


def _leaking(plan: Lines, rng: random.Random) -> Iterator[Flawed]:
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
        if len(text) <= _MAX_LEAK_CHARS and (any(sign in text for sign in "([=") or text.startswith("for ")):
            leak = rng.choice(_LEAKING).format(text) + ":" * line.text.endswith(":")
            lines = (*plan[:at], replace(line, text=leak), *plan[at + 1 :])
            yield Flawed(render(lines), LEAK, at / max(1, len(plan) - 1))


def _in_turn(sources: Mapping[str, Iterator[Flawed]], rng: random.Random, count: int, good: str) -> list[Flawed]:
    """Up to ``count`` different flawed plans, one of each kind in turn, kinds in random order."""
    waiting = rng.sample(list(sources.values()), len(sources))
    found: dict[str, Flawed] = {}
    while waiting and len(found) < count:
        source = waiting.pop(0)
        flawed = next((each for each in source if each.reasoning not in found and each.reasoning != good), None)
        if flawed is not None:
            found[flawed.reasoning] = flawed
            waiting.append(source)
    return list(found.values())
