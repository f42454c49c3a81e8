"""Splits problems into train and held-out by a stable hash of their ids, and keeps held-out texts out of train.

Which side a problem falls on depends on its id alone: adding, removing or reordering rows moves no other problem.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import xxhash

from tracelift_ray.data.problems import text_key
from tracelift_ray.types import Problem

_SALT = "heldout"


@dataclass(frozen=True)
class Leakage:
    """Train problems that were left out because they are held-out ones: by id, or by text under another id."""

    by_id: int = 0
    by_text: int = 0


def split_heldout(problems: Sequence[Problem], fraction: float) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """Train and held-out problems, each in the given order.

    Args:
        fraction: expected share of held-out problems, in [0, 1). Where it is above 0, each task with at least two
            problems has at least one on either side.

    Raises:
        ValueError: ``fraction`` is out of range.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"heldout_fraction is {fraction}: it must be in [0, 1)")
    if fraction == 0:
        return tuple(problems), ()
    heldout: set[str] = set()
    for task in dict.fromkeys(problem.task for problem in problems):
        ids = sorted((problem.id for problem in problems if problem.task == task), key=_place)
        within = sum(_place(id)[0] < fraction for id in ids)
        heldout.update(ids[: min(max(within, 1), len(ids) - 1)])
    train = tuple(problem for problem in problems if problem.id not in heldout)
    return train, tuple(problem for problem in problems if problem.id in heldout)


def without_leaks(train: Sequence[Problem], heldout: Sequence[Problem]) -> tuple[tuple[Problem, ...], Leakage]:
    """``train`` without the problems that ``heldout`` has too, by id or by text (case and spacing aside)."""
    ids = {problem.id for problem in heldout}
    texts = {text_key(problem.statement) for problem in heldout}
    kept = []
    by_id = by_text = 0
    for problem in train:
        if problem.id in ids:
            by_id += 1
        elif text_key(problem.statement) in texts:
            by_text += 1
        else:
            kept.append(problem)
    return tuple(kept), Leakage(by_id, by_text)


def interleaved(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """The problems with their tasks spread evenly, so that any stretch holds about the mix of the whole."""
    totals = {task: sum(problem.task == task for problem in problems) for task in {p.task for p in problems}}
    seen = dict.fromkeys(totals, 0)
    placed = []
    for problem in problems:
        placed.append(((seen[problem.task] + 0.5) / totals[problem.task], problem.task, problem))
        seen[problem.task] += 1
    return tuple(problem for _, _, problem in sorted(placed, key=lambda entry: entry[:2]))


def _place(id: str) -> tuple[float, str]:
    """Where an id falls in [0, 1), evenly; the id itself breaks ties."""
    return xxhash.xxh3_64_intdigest(f"{_SALT}/{id}".encode()) / 2**64, id
