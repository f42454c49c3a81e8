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
    right, total = (sum(counts) for counts in zip(*by_group, strict=True))
    return Ranking(
        name=name,
        pairs=_interval(right / total, _resampled(by_group)),
        groups=fmean(hits == size for hits, size in by_group),
        kinds={kind: share for kind, (share, _) in accuracy_by_kind(pairs).items()},
        by_group=by_group,
    )


def advantage(ranking: Ranking, other: Ranking) -> Interval:
    """Share of pairs of one ranking less that of another on the same groups, resampled together."""
    shares = _resampled(ranking.by_group) - _resampled(other.by_group)
    return _interval(ranking.pairs.value - other.pairs.value, shares)


def _interval(value: float, resampled: np.ndarray) -> Interval:
    low, high = np.percentile(resampled, _PERCENTILES)
    return Interval(value, float(low), float(high))


def _resampled(by_group: Sequence[tuple[int, int]]) -> np.ndarray:
    """(RESAMPLES,) shares of pairs in the right order; as many groups are always drawn in the same way."""
    count = len(by_group)
    draws = np.random.default_rng(0).integers(0, count, (RESAMPLES, count))
    right, total = np.array(by_group, float)[draws].sum(1).T
    return right / total
