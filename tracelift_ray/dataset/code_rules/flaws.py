"""Flaws in plans, by rule: the program behind a plan is changed in one place and narrated again in the same words.

So a flawed plan is as fluent as a good one and differs from it only where the program differs. A changed program has
to fail the problem's tests before its plan counts as flawed. Needless work and leaked program text change no result;
those two are put into the text of a step.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator, Mapping
from dataclasses import replace

from tracelift_ray.dataset.code_rules.mutations import STRUCTURE, Mutation, mutations
from tracelift_ray.dataset.code_rules.names import Name
from tracelift_ray.dataset.code_rules.narration import Vocabulary, narrate, render
from tracelift_ray.dataset.code_rules.plainer import CHANGED
from tracelift_ray.dataset.code_rules.program import Program
from tracelift_ray.dataset.code_rules.rubrics import KINDS
from tracelift_ray.dataset.code_rules.shapes import Shape
from tracelift_ray.dataset.code_rules.slowdowns import slow_results, slowdowns
from tracelift_ray.dataset.code_rules.statements import Line
from tracelift_ray.dataset.code_rules.text_flaws import text_flaws
from tracelift_ray.dataset.code_rules.traces import Plan, plan_of
from tracelift_ray.dataset.code_rules.trials import Trials
from tracelift_ray.dataset.pipeline.stages import Flawed, Refused
from tracelift_ray.types import CodeTests, Problem

COMPLEXITY, LEAK = "wrong_complexity", "leaked_implementation"
#: A flaw may change so many lines of a plan, since a dropped branch takes its lines with it.
MAX_CHANGED_LINES = 4
_MAX_LEAK_CHARS = 90


class CodePerturber:
    """Implements ``stages.Perturber`` for code.

    Args:
        trials: where changed programs are run.
    """

    kinds = KINDS

    def __init__(self, trials: Trials) -> None:
        self._trials = trials

    def negatives(self, problem: Problem, trace: str, rng: random.Random, count: int) -> list[Flawed]:
        """As ``stages.Perturber``. A trace that was not narrated from the reference program is changed as a text.
        Raises InfrastructureError from the sandbox."""
        plan = plan_of(problem, trace)
        if plan is None:
            return _round_robin(text_flaws(problem, trace, rng), rng, count, {trace})
        assert problem.tests is not None
        sources = self._changed(problem, plan, problem.tests, rng)
        sources[COMPLEXITY] = _slower(plan, rng)
        sources[LEAK] = _leaking(plan, rng)
        return _round_robin(sources, rng, count, {trace})

    def _changed(
        self, problem: Problem, plan: Plan, tests: CodeTests, rng: random.Random
    ) -> dict[str, Iterator[Flawed]]:
        """Plans of changed programs, by kind; each is narrated and run only when it is asked for."""
        found = [(plan.program.main, mutation) for mutation in mutations(plan.program.main)]
        if plan.program.helper is not None:
            helper = plan.program.helper
            found += [(helper, mutation) for mutation in mutations(helper)]
        rng.shuffle(found)
        by_kind: dict[str, list[tuple[ast.FunctionDef, Mutation]]] = {}
        for function, mutation in found:
            by_kind.setdefault(mutation.kind, []).append((function, mutation))
        return {kind: self._narrated(problem, plan, tests, of_kind) for kind, of_kind in by_kind.items()}

    def _narrated(
        self, problem: Problem, plan: Plan, tests: CodeTests, found: list[tuple[ast.FunctionDef, Mutation]]
    ) -> Iterator[Flawed]:
        for function, mutation in found:
            program = _with_function(plan.program, function, mutation.function)
            try:
                lines = narrate(program, problem.statement, _words(plan.words, mutation), plan.style)
            except Refused:
                continue
            place = _place(plan.lines, lines)
            if place is None or (plan.layout == "prose" and any(line.depth for line in lines)):
                continue
            if self._trials.fails(program.source, tests, plausibly=mutation.kind != STRUCTURE):
                yield Flawed(render(lines, plan.layout), mutation.kind, place)


def _with_function(program: Program, old: ast.FunctionDef, new: ast.FunctionDef) -> Program:
    body = [new if node is old else node for node in program.module.body]
    module = ast.Module(body=body, type_ignores=[])
    if old is program.main:
        return replace(program, module=module, main=new)
    return replace(program, module=module, helper=new)


def _words(words: Vocabulary, mutation: Mutation) -> Vocabulary:
    """The plan's names; a list that became a set is called a set."""
    changed = words.main.get(mutation.now_a_set)
    if changed is None:
        return words
    as_set = replace(
        changed,
        words=changed.words.replace("list", "set"),
        noun=changed.noun.replace("list", "set"),
        shape=Shape("set", changed.shape.item),
    )
    main: Mapping[str, Name] = {**words.main, mutation.now_a_set: as_set}
    return replace(words, main=main)


def _place(good: tuple[Line, ...], flawed: tuple[Line, ...]) -> float | None:
    """Where the flaw begins, in [0, 1]; None where the plans are the same or differ in too much."""
    ours, theirs = [line.text for line in good], [line.text for line in flawed]
    start = 0
    while start < min(len(ours), len(theirs)) and ours[start] == theirs[start]:
        start += 1
    end = 0
    while end < min(len(ours), len(theirs)) - start and ours[-1 - end] == theirs[-1 - end]:
        end += 1
    changed = max(len(ours), len(theirs)) - start - end
    if changed == 0 or (changed > MAX_CHANGED_LINES and _lacking(ours, theirs) > MAX_CHANGED_LINES):
        return None
    return min(start, len(ours) - 1) / max(1, len(ours) - 1)


def _lacking(ours: list[str], theirs: list[str]) -> int:
    """How many lines of either plan the other one lacks."""
    return max(sum(line not in theirs for line in ours), sum(line not in ours for line in theirs))


def _slower(plan: Plan, rng: random.Random) -> Iterator[Flawed]:
    """The plan with one step that does far more work than it needs to."""
    places = [(at, rewrite) for at, line in enumerate(plan.lines) if line.source for rewrite in slowdowns(line.text)]
    rng.shuffle(places)
    if not places:
        last = len(plan.lines) - 1
        places = [(last, rewrite) for rewrite in slow_results(plan.lines[last].text)]
    for at, rewrite in places:
        yield _with_line(plan, at, rewrite(rng), COMPLEXITY)


def _leaking(plan: Plan, rng: random.Random) -> Iterator[Flawed]:
    """The plan with one step as program text."""
    functions = [plan.program.main, plan.program.helper]
    statements = {
        node.lineno: node
        for function in functions
        if function is not None
        for statement in function.body
        for node in ast.walk(statement)
        if isinstance(node, ast.stmt)
    }
    places = [at for at, line in enumerate(plan.lines) if line.source in statements]
    rng.shuffle(places)
    for at in places:
        text = _program_text(statements[plan.lines[at].source], plan.lines[at])
        if text is not None:
            wrapping = rng.choice(
                ("`{}`", "write `{}`", "use the line `{}`", "the code is {}", "in code: {}", "put down {}")
            )
            yield _with_line(plan, at, wrapping.format(text), LEAK)


def _program_text(statement: ast.stmt, line: Line) -> str | None:
    """A statement as program text, or its first line where it has a body that the plan sets in below it."""
    text = ast.unparse(ast.fix_missing_locations(statement)).replace(CHANGED, "")
    if line.text.endswith(":"):
        text = text.partition("\n")[0].rstrip(":")
    text = "; ".join(part.strip() for part in text.split("\n")).replace(":; ", ": ")
    looks_like_it = any(sign in text for sign in ("(", "[", "=")) or text.startswith("for ")
    return text if looks_like_it and len(text) <= _MAX_LEAK_CHARS else None


def _with_line(plan: Plan, at: int, text: str, kind: str) -> Flawed:
    lines = list(plan.lines)
    lines[at] = replace(lines[at], text=text + (":" if lines[at].text.endswith(":") and not text.endswith(":") else ""))
    return Flawed(render(tuple(lines), plan.layout), kind, at / max(1, len(lines) - 1))


def _round_robin(
    sources: Mapping[str, Iterator[Flawed]], rng: random.Random, count: int, seen: set[str]
) -> list[Flawed]:
    """Up to ``count`` different flawed plans, one of each kind in turn, kinds in random order."""
    waiting = [sources[kind] for kind in sorted(sources)]
    rng.shuffle(waiting)
    found: list[Flawed] = []
    while waiting and len(found) < count:
        source = waiting.pop(0)
        for flawed in source:
            if flawed.reasoning not in seen:
                seen.add(flawed.reasoning)
                found.append(flawed)
                waiting.append(source)
                break
    return found
