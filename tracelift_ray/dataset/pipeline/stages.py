"""What a build is made of: its stages, and the rules by which they work without a model, for each task.

Rules promise to depend on their arguments alone: the same problem, trace and random generator give the same output,
in any order of problems.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tracelift_ray.data.rubric_records import RubricLabels
from tracelift_ray.types import Problem

Labels = tuple[int, int, int, int, int]
#: By kind, the labels of a flaw in the first half of a trace and of one in the second, in the order of the task's
#: dimensions: the earlier a flaw, the more is built on it.
LabelTable = Mapping[str, tuple[Labels, Labels]]


class Refused(Exception):
    """A problem, or a trace of it, cannot be used; ``reason`` is a short clause that refusals are counted by."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Candidate:
    """A good trace, or one with one flaw.

    Attributes:
        kind: the flaw's name in the negative bank, such as ``wrong_operation``; None for a good trace.
        place: where in the trace the flaw begins: 0 at its start, 1 at its end.
    """

    reasoning: str
    kind: str | None = None
    place: float = 0.0


@dataclass(frozen=True)
class TaskRules:
    """The rules of one task.

    Attributes:
        traces: one or more good traces of a problem, made of what the data holds, answer-free and code-free, the
            plainest first. Raises Refused where the problem offers none.
        negatives: up to ``count`` different flawed copies of a trace, their kinds as even as it allows; fewer, or
            none, where it offers no more places. Each differs from it at one place and in what follows from it.
        labels: what each kind of flaw costs.

    Both raise InfrastructureError where they run programs and cannot.
    """

    traces: Callable[[Problem, random.Random], list[str]]
    negatives: Callable[[Problem, str, random.Random, int], list[Candidate]]
    labels: LabelTable


class ReferenceStage(Protocol):
    """Gives a problem its good traces."""

    async def traces(self, problem: Problem) -> list[str]:
        """One or more good traces. Raises Refused where the problem has none, and InfrastructureError."""


class PerturbStage(Protocol):
    """Gives a problem its flawed traces."""

    async def negatives(self, problem: Problem, traces: Sequence[str]) -> tuple[list[Candidate], dict[str, int]]:
        """Flawed copies of the good traces, and how many attempts were thrown away for which reason. Raises
        InfrastructureError."""


class JudgeStage(Protocol):
    """Gives traces their rubrics."""

    async def rubrics(self, problem: Problem, traces: Sequence[Candidate]) -> list[RubricLabels | None]:
        """One rubric for each trace, in order; None where the judge's reply was of no use. Raises
        InfrastructureError."""
