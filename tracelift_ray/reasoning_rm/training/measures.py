"""Calibration and correlation, on plain lists of numbers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
    guesses, truths = np.array(predicted), np.array(judged)
    places = np.minimum(guesses * NUM_BINS, NUM_BINS - 1).astype(int)
    bins = tuple(
        ReliabilityBin(
            place / NUM_BINS,
            (place + 1) / NUM_BINS,
            float(guesses[places == place].mean()),
            float(truths[places == place].mean()),
            int((places == place).sum()),
        )
        for place in np.unique(places).tolist()
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
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[places].tolist()
