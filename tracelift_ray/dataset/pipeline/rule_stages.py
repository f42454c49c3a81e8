"""The stages that need no model: traces from the data, flaws by rule, rubrics by rule.

Every random choice follows from the seed and the problem, so a problem's traces are the same in any company.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from tracelift_ray.data.rubric_records import RubricLabels
from tracelift_ray.dataset.pipeline.rules import Rules
from tracelift_ray.dataset.pipeline.stages import Flawed, Submission
from tracelift_ray.types import Problem

T = TypeVar("T")


class DataReferences:
    """``stages.ReferenceStage``: what the data's own solutions give."""

    def __init__(self, rules: Rules, seed: int) -> None:
        self._rules = rules
        self._seed = seed

    async def traces(self, problem: Problem) -> list[str]:
        rng = problem_rng("traces", self._seed, problem)
        references = self._rules.of(problem.task).references
        return await _run(problem, lambda: references.traces(problem, rng))


class RulePerturbations:
    """``stages.PerturbStage`` by rule: ``count`` negatives, spread evenly over the good traces."""

    def __init__(self, rules: Rules, seed: int, count: int) -> None:
        self._rules = rules
        self._seed = seed
        self._count = count

    async def negatives(self, problem: Problem, traces: Sequence[str]) -> tuple[list[Flawed], dict[str, int]]:
        return await _run(problem, lambda: self._made(problem, traces)), {}

    def _made(self, problem: Problem, traces: Sequence[str]) -> list[Flawed]:
        perturber = self._rules.of(problem.task).perturber
        rng = problem_rng("flaws", self._seed, problem)
        made: dict[tuple[object, ...], Flawed] = {}
        for index, trace in enumerate(traces):
            wanted = len(made) + share(self._count, len(traces), index)
            # More than are wanted, since some will be flaws that another good trace has been given already.
            for flawed in perturber.negatives(problem, trace, rng, 2 * (wanted - len(made))):
                if len(made) < wanted:
                    made.setdefault(_gist(flawed, traces[0]), flawed)
        return list(made.values())


def _gist(flawed: Flawed, plain: str) -> tuple[object, ...]:
    """What two flawed traces share where they have one flaw, and differ only in what the good traces differ in."""
    lines, others = flawed.reasoning.splitlines(), plain.splitlines()
    gone = [line for line in others if line not in lines]
    new = [line for line in lines if line not in others]
    changed = [line for line in new if any(_resemble(line, old) for old in gone)]
    return (flawed.kind, frozenset(gone), frozenset(changed)) if gone else (flawed.kind, frozenset(new))


def _resemble(line: str, other: str) -> bool:
    """Whether one line is the other, changed."""
    words, others = set(line.split()), set(other.split())
    return 2 * len(words & others) > min(len(words), len(others))


class RuleJudgements:
    """``stages.JudgeStage`` by rule: what the flaw is and where it sits says what it costs."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    async def rubrics(self, problem: Problem, traces: Sequence[Submission]) -> list[RubricLabels | None]:
        judge = self._rules.of(problem.task).judge
        return [judge.rubric(trace.kind, trace.place) for trace in traces]


async def _run(problem: Problem, make: Callable[[], T]) -> T:
    """``make()``, off the event loop for code, whose rules run programs."""
    return make() if problem.task == "math" else await asyncio.to_thread(make)


def problem_rng(purpose: str, seed: int, problem: Problem) -> random.Random:
    """A generator that depends on what is drawn, on the seed and on the problem's id alone."""
    return random.Random(f"{purpose} {seed} {problem.id}")


def share(count: int, parts: int, index: int) -> int:
    """How many of ``count`` things part ``index`` of ``parts`` gets, where the first parts get the rest."""
    return count // parts + (index < count % parts)
