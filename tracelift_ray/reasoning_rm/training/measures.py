"""Calibration and correlation, on plain lists of numbers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

NUM_BINS = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """The predictions in [low, high): their mean, the mean of what was judged, and how many they are."""

    low: float
    high: float
    predicted: float
    judged: float
    count: int


@dataclass(frozen=True)
class Calibration:
    """How far predictions in [0, 1] are what they say.

    Attributes:
        error: expected calibration error, the mean over predictions of |mean predicted - mean judged| of their bin.
        bins: equally wide ones; those without predictions are left out.
    """

    error: float
    bins: tuple[ReliabilityBin, ...]


def calibrate(predicted: Sequence[float], judged: Sequence[float]) -> Calibration:
    """The calibration of at least one prediction in [0, 1] against judgements in [0, 1]."""
    pairs: list[list[tuple[float, float]]] = [[] for _ in range(NUM_BINS)]
    for guess, truth in zip(predicted, judged, strict=True):
        pairs[min(int(guess * NUM_BINS), NUM_BINS - 1)].append((guess, truth))
    bins = tuple(
        ReliabilityBin(
            place / NUM_BINS,
            (place + 1) / NUM_BINS,
            statistics.fmean(guess for guess, _ in found),
            statistics.fmean(truth for _, truth in found),
            len(found),
        )
        for place, found in enumerate(pairs)
        if found
    )
    error = sum(b.count * abs(b.predicted - b.judged) for b in bins) / len(predicted)
    return Calibration(error, bins)


def correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Pearson's, in [-1, 1]; None for fewer than two pairs, or where one of the two does not vary."""
    if len(first) < 2:
        return None
    try:
        value = statistics.correlation(first, second)
    except statistics.StatisticsError:
        return None
    return value if math.isfinite(value) else None


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's, in [-1, 1]; None as for ``correlation``."""
    return correlation(_ranks(first), _ranks(second))


def centred(groups: Sequence[Sequence[float]]) -> list[float]:
    """Every value less the mean of its group: what is left of a correlation then is that within groups."""
    return [value - statistics.fmean(group) for group in groups for value in group]


def _ranks(values: Sequence[float]) -> list[float]:
    """The rank of each value, equal values sharing the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for place in range(start, end + 1):
            ranks[order[place]] = (start + end) / 2
        start = end + 1
    return ranks
