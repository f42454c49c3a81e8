"""What a group build is made of: its stages, and the plug-ins by which they work without a model, for each task.

A plug-in promises to depend on its arguments alone: the same problem, trace and random generator give the same
output, whatever was built before.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tracelift_ray.data.rubric_records import RubricLabels
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
        extra: whatever else should stand beside the trace in the file.
    """

    reasoning: str
    kind: str
    place: float
    extra: Mapping[str, str] = field(default_factory=dict)


class ReferenceTraces(Protocol):
    """Makes good traces out of what the data holds."""

    def traces(self, problem: Problem, rng: random.Random) -> list[str]:
        """One or more good traces, answer-free and code-free, the plainest first.

        Raises:
            Refused: the problem offers none.
        """


class Perturber(Protocol):
    """Puts flaws into good traces by rule.

    Attributes:
        kinds: every kind that it can make.
    """

    kinds: tuple[str, ...]

    def negatives(self, problem: Problem, trace: str, rng: random.Random, count: int) -> list[Flawed]:
        """Up to ``count`` different flawed copies of ``trace``, their kinds as even as the trace allows; fewer, or
        none, where it offers no more places. Every one differs from ``trace`` at one place and in what follows from
        it."""


class RuleJudge(Protocol):
    """Says what a flaw costs."""

    def rubric(self, kind: str | None, place: float) -> RubricLabels:
        """The rubric of a trace with a flaw of ``kind`` at ``place`` in [0, 1]; kind None: of a good trace.

        Raises:
            KeyError: the kind is none of this task's.
        """


@dataclass(frozen=True)
class TaskRules:
    """The plug-ins of one task."""

    references: ReferenceTraces
    perturber: Perturber
    judge: RuleJudge


@dataclass(frozen=True)
class Submission:
    """A trace to be judged. ``kind`` and ``place`` as of its flaw; None and 0 for a good trace."""

    reasoning: str
    kind: str | None = None
    place: float = 0.0


class ReferenceStage(Protocol):
    """Gives a problem its good traces."""

    async def traces(self, problem: Problem) -> list[str]:
        """One or more good traces.

        Raises:
            Refused: the problem has none.
            InfrastructureError: a model or the verifier failed.
        """


class PerturbStage(Protocol):
    """Gives a problem its flawed traces."""

    async def negatives(self, problem: Problem, traces: Sequence[str]) -> tuple[list[Flawed], dict[str, int]]:
        """Flawed copies of the good traces, and how many attempts were thrown away for which reason.

        Raises:
            InfrastructureError: a model failed.
        """


class JudgeStage(Protocol):
    """Gives traces their rubrics."""

    async def rubrics(self, problem: Problem, traces: Sequence[Submission]) -> list[RubricLabels | None]:
        """One rubric for each trace, in order; None where the judge's reply was of no use.

        Raises:
            InfrastructureError: a model failed.
        """
