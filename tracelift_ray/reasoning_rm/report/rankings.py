"""How often something that gives traces numbers puts good ones above flawed ones of the same problem, and how surely.

The intervals are percentile bootstraps over groups, since the pairs of one group are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from tracelift_ray.reasoning_rm.training.metrics import ScoredGroup, ScoredTrace, accuracy_by_kind, pairs_of

RESAMPLES = 2000
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Ranking:
    """One way to rank traces, over the pairs of (good, flawed) traces of groups.

    Attributes:
        name: for tables.
        pairs: share of all pairs with the good trace strictly higher.
        groups: share of groups with every good trace above every flawed one.
        kinds: share of pairs by kind of flaw.
        by_group: for each group, its pairs in the right order and all its pairs.
    """

    name: str
    pairs: Interval
    groups: float
    kinds: dict[str, float]
    by_group: tuple[tuple[int, int], ...]


def rank_by(name: str, groups: Sequence[ScoredGroup], key: Callable[[ScoredTrace], float]) -> Ranking:
    """The ranking of at least one group by a number for each trace; equal numbers count as wrong."""
    pairs = [pairs_of(group, key) for group in groups]
    by_group = tuple((sum(margin > 0 for _, margin in found), len(found)) for found in pairs)
    return Ranking(
        name=name,
        pairs=_share(by_group),
        groups=fmean(right == total for right, total in by_group),
        kinds={kind: share for kind, (share, _) in accuracy_by_kind(pairs).items()},
        by_group=by_group,
    )


def advantage(ranking: Ranking, other: Ranking) -> Interval:
    """Share of pairs of one ranking less that of another on the same groups, resampled together."""
    ours, theirs = np.array(ranking.by_group, float), np.array(other.by_group, float)
    draws = _draws(len(ours))
    shares = _shares(ours, draws) - _shares(theirs, draws)
    low, high = np.percentile(shares, _PERCENTILES)
    return Interval(ranking.pairs.value - other.pairs.value, float(low), float(high))


def _share(by_group: Sequence[tuple[int, int]]) -> Interval:
    counts = np.array(by_group, float)
    low, high = np.percentile(_shares(counts, _draws(len(counts))), _PERCENTILES)
    return Interval(float(counts[:, 0].sum() / counts[:, 1].sum()), float(low), float(high))


def _draws(count: int) -> np.ndarray:
    """(RESAMPLES, count) indices of groups, the same for the same count."""
    return np.random.default_rng(0).integers(0, count, (RESAMPLES, count))


def _shares(counts: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """(RESAMPLES,) share of pairs in the right order."""
    drawn = counts[draws].sum(1)
    return drawn[:, 0] / drawn[:, 1]
