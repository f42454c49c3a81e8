"""What the watch of a simulated run remembers: the traces that were written, and what a resume takes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


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
