"""What the watch of a simulated run remembers: the traces that were written, what a resume takes back, and with a
curriculum which problems must be drawn in which epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tracelift_ray.types import Baseline


@dataclass
class Written:
    """A trace as the engine wrote it."""

    problem: str
    epoch: int
    index: int
    version: int
    quality: int
    faulty: bool  # by weights that are not those of the version


#: Successes and samples without a trace; and of what a group is given: of its problem, and of all problems.
Counts = tuple[int, int]
Known = tuple[Counts, Counts]


#: A problem that is left out rests for so many epochs; it is left out from so many samples on.
RESTS, ENOUGH = 1, 4


@dataclass
class Epochs:
    """Which problems an epoch has under a curriculum: all but those that were always or never solved, and rest."""

    number: int = -1
    waiting: set[str] = field(default_factory=set)  # of the present epoch, not drawn yet
    resting: dict[str, int] = field(default_factory=dict)  # by problem since which epoch
    due: set[str] = field(default_factory=set)  # have rested, and are not measured again yet
    alone: dict[str, Counts] = field(default_factory=dict)
    drawn: int = 0

    def draw(self, epoch: int, problem: str, problems: Sequence[str]) -> str:
        """The rule that is broken where this problem is drawn now; empty: none is."""
        if epoch > self.number and self.waiting:
            return "an epoch ends before the next begins"
        if epoch > self.number:
            useless = [p for p in problems if (c := self.alone.get(p, (0, 0)))[1] >= ENOUGH and c[0] in (0, c[1])]
            since = {p: self.resting.get(p, epoch) for p in useless if p not in self.due}
            resting = {p: first for p, first in since.items() if epoch < first + RESTS}
            self.due |= since.keys() - resting.keys()
            if len(resting) == len(problems):
                self.due, resting = self.due | resting.keys(), {}
            self.number, self.resting, self.waiting = epoch, resting, set(problems) - resting.keys()
        if problem not in self.waiting:
            return "a problem that rests is not drawn" if problem in self.resting else "a problem is drawn once"
        self.waiting.remove(problem)
        self.drawn += 1
        return ""

    def measured(self, problem: str, baseline: Baseline, shared: bool) -> None:
        """A group that is done had these samples without a trace; ``shared``: those of former ones are among them."""
        self.due.discard(problem)
        old, new = self.alone.get(problem, (0, 0)), (baseline.successes, baseline.samples)
        self.alone[problem] = max(old, new, key=lambda each: each[1]) if shared else (old[0] + new[0], old[1] + new[1])


@dataclass
class Account:
    """What a resume takes back to the moment of the checkpoint."""

    step: int = 0
    version: int = 0
    ended: dict[int, str] = field(default_factory=dict)
    trained: set[int] = field(default_factory=set)
    consumed: list[tuple[int, int, tuple[Any, ...]]] = field(default_factory=list)
    gaps: int = 0  # traces masked, groups failed or dropped: from there on the stream may differ
    pooled: dict[str, Counts] = field(default_factory=dict)  # by problem, where baselines are pooled
    known: dict[int, Known] = field(default_factory=dict)  # by serial, what its group is given of them
    epochs: Epochs = field(default_factory=Epochs)
