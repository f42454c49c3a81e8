"""What a build is made of: its stages, and the rules by which they work without a model, for each task.

Rules promise to depend on their arguments alone: the same problem, trace and random generator give the same output,
in any order of problems.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tracelift_ray.data.rubric_records import RubricLabels
from tracelift_ray.dataset.pipeline.rubrics import LabelTable
from tracelift_ray.types import Problem


class Refused(Exception):
    """A problem, or a trace of it, cannot be used; ``reason`` is a short clause that refusals are counted by."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Flawed:
    """A trace with one flaw.

    Attributes:
        kind: its name in the negative bank, such as ``wrong_operation``.
        place: where in the trace the flaw begins: 0 at its start, 1 at its end.
    """

    reasoning: str
    kind: str
    place: float


@dataclass(frozen=True)
class Submission:
    """A trace to be judged. ``kind`` and ``place`` as of its flaw; None and 0 for a good trace."""

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
    negatives: Callable[[Problem, str, random.Random, int], list[Flawed]]
    labels: LabelTable


class ReferenceStage(Protocol):
    """Gives a problem its good traces."""

    async def traces(self, problem: Problem) -> list[str]:
        """One or more good traces. Raises Refused where the problem has none, and InfrastructureError."""


class PerturbStage(Protocol):
    """Gives a problem its flawed traces."""

    async def negatives(self, problem: Problem, traces: Sequence[str]) -> tuple[list[Flawed], dict[str, int]]:
        """Flawed copies of the good traces, and how many attempts were thrown away for which reason. Raises
        InfrastructureError."""


class JudgeStage(Protocol):
    """Gives traces their rubrics."""

    async def rubrics(self, problem: Problem, traces: Sequence[Submission]) -> list[RubricLabels | None]:
        """One rubric for each trace, in order; None where the judge's reply was of no use. Raises
        InfrastructureError."""
