"""What the stages of a group build are made of: the plug-ins that need no model, one set for each task.

A plug-in promises to depend on its arguments alone: the same problem, trace and random generator give the same
output, whatever was built before.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tracelift_ray.data.groups import RubricLabels
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
