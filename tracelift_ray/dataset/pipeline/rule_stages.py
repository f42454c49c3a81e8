"""The stages that need no model: traces from the data, flaws by rule, rubrics by rule.

Every random choice follows from the seed and the problem, so a problem's traces are the same in any company.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from tracelift_ray.config.schema import SandboxConfig
from tracelift_ray.data.rubric_records import MAX_LABEL, RubricLabels
from tracelift_ray.dataset.code_rules.plans import CODE_LABELS, CodePlans
from tracelift_ray.dataset.code_rules.trials import Trials
from tracelift_ray.dataset.math_rules.perturber import MATH_LABELS, math_negatives
from tracelift_ray.dataset.math_rules.traces import math_traces
from tracelift_ray.dataset.pipeline.stages import Candidate, LabelTable, TaskRules
from tracelift_ray.errors import DataError
from tracelift_ray.tasks.code import CODE
from tracelift_ray.tasks.math import MATH
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Problem

T = TypeVar("T")


class ByRule:
    """All three stages by rule: traces from the data's own solutions; ``count`` negatives, spread evenly over the good
    traces; rubrics by what the flaw is and where it sits. Owns the sandbox that the rules for code run in."""

    def __init__(self, sandbox: SandboxConfig, seed: int, count: int) -> None:
        self._trials = Trials(sandbox)
        self._seed = seed
        self._count = count
        plans = CodePlans(self._trials)
        self._rules = {
            MATH: TaskRules(math_traces, math_negatives, MATH_LABELS),
            CODE: TaskRules(plans.traces, plans.negatives, CODE_LABELS),
        }

    def rules(self, task: str) -> TaskRules:
        """The rules of a task. Raises DataError where there are none."""
        if task not in self._rules:
            raise DataError(f"task {task!r} has no rules for traces and flaws; {', '.join(self._rules)} have some")
        return self._rules[task]

    def close(self) -> None:
        """End the sandbox."""
        self._trials.close()

    async def traces(self, problem: Problem) -> list[str]:
        rng = problem_rng("traces", self._seed, problem)
        return await _run(problem, lambda: self.rules(problem.task).traces(problem, rng))

    async def negatives(self, problem: Problem, traces: Sequence[str]) -> tuple[list[Candidate], dict[str, int]]:
        return await _run(problem, lambda: self._made(problem, traces)), {}

    async def rubrics(self, problem: Problem, traces: Sequence[Candidate]) -> list[RubricLabels | None]:
        labels = self.rules(problem.task).labels
        return [rubric_of(labels, trace.kind, trace.place) for trace in traces]

    def _made(self, problem: Problem, traces: Sequence[str]) -> list[Candidate]:
        rules = self.rules(problem.task)
        rng = problem_rng("flaws", self._seed, problem)
        made: dict[tuple[object, ...], Candidate] = {}
        for index, trace in enumerate(traces):
            wanted = len(made) + share(self._count, len(traces), index)
            # More than are wanted, since some will be flaws that another good trace has been given already.
            for flawed in rules.negatives(problem, trace, rng, 2 * (wanted - len(made))):
                if len(made) < wanted:
                    made.setdefault(_gist(flawed, traces[0]), flawed)
        return list(made.values())


def _gist(flawed: Candidate, plain: str) -> tuple[object, ...]:
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


async def _run(problem: Problem, make: Callable[[], T]) -> T:
    """``make()``, off the event loop where rules run programs."""
    return await asyncio.to_thread(make) if task_of(problem.task).runs_programs else make()


def rubric_of(table: LabelTable, kind: str | None, place: float) -> RubricLabels:
    """The rubric of a trace with a flaw of ``kind`` at ``place`` in [0, 1]; kind None: of a good trace.

    The total is half the mean and half the least of the labels, so that one grave flaw counts. Raises KeyError for a
    kind that the table lacks.
    """
    labels = (MAX_LABEL,) * 5 if kind is None else table[kind][place >= 0.5]
    return RubricLabels(labels, round(0.5 * sum(labels) / (MAX_LABEL * len(labels)) + 0.5 * min(labels) / MAX_LABEL, 4))


def problem_rng(purpose: str, seed: int, problem: Problem) -> random.Random:
    """A generator that depends on what is drawn, on the seed and on the problem's id alone."""
    return random.Random(f"{purpose} {seed} {problem.id}")


def share(count: int, parts: int, index: int) -> int:
    """How many of ``count`` things part ``index`` of ``parts`` gets, where the first parts get the rest."""
    return count // parts + (index < count % parts)
