"""How well a reasoning RM ranks and labels groups that it was not trained on."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from statistics import fmean

import numpy as np

from tracelift_ray.reasoning_rm.training.data import TraceGroup

NUM_BINS = 10


@dataclass(frozen=True)
class ScoredTrace:
    """A judged trace and what the model says of it.

    Attributes:
        labels: the judge's, each 0..4.
        predicted: the likeliest label of each head.
        total, predicted_total: the judge's total and the total head's, in [0, 1].
        score: q in [0, 1].
        length: of the trace, in characters.
        kind: how a negative is flawed, where that is known.
    """

    labels: tuple[int, ...]
    predicted: tuple[int, ...]
    total: float
    predicted_total: float
    score: float
    length: int
    kind: str | None = None


ScoredGroup = TraceGroup[ScoredTrace]
#: Of a pair of a good and a flawed trace: the kind of flaw, and by how much the good one's number is higher.
Pair = tuple[str, float]


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


@dataclass(frozen=True)
class LengthBias:
    """Correlation with a trace's length in [-1, 1], of the model's q and of the judge's total; None: one is constant.

    Attributes:
        score, judged: over all traces.
        score_within, judged_within: within groups, after each group's means are taken off.
    """

    score: float | None
    judged: float | None
    score_within: float | None
    judged_within: float | None


@dataclass(frozen=True)
class Reference:
    """What a model that reads nothing would reach on the same groups: the numbers that others have to beat.

    Attributes:
        group_accuracy: of scores at random, the mean over groups of the chance that every positive comes first.
        total_mae, total_rmse: of the best constant total, the median and the mean.
        dimension_accuracy: of each dimension's most frequent label.
    """

    group_accuracy: float
    total_mae: float
    total_rmse: float
    dimension_accuracy: dict[str, float]
    pair_accuracy: float = 0.5


@dataclass(frozen=True)
class RmMetrics:
    """Quality on some groups; shares lie in [0, 1].

    Attributes:
        pair_accuracy: share of (positive, negative) pairs of a group with the positive's score strictly higher.
        group_accuracy: share of groups whose every positive scores higher than every negative.
        mean_margin: mean of q_positive - q_negative over the pairs, in [-1, 1].
        total_mae, total_rmse: mean, and root mean square, of |predicted - judged| total over all traces.
        dimension_accuracy: share of traces with the judge's label, by dimension.
        kind_accuracy: pair accuracy by kind of flaw, and the number of its pairs.
        calibration: of the predicted total against the judged one.
        reference: the same measures of a model that reads nothing.
    """

    groups: int
    traces: int
    pair_accuracy: float
    group_accuracy: float
    mean_margin: float
    total_mae: float
    total_rmse: float
    dimension_accuracy: dict[str, float]
    kind_accuracy: dict[str, tuple[float, int]]
    calibration: Calibration
    length_bias: LengthBias
    reference: Reference


def measure(groups: Sequence[ScoredGroup], dimension_names: Sequence[str]) -> RmMetrics:
    """The metrics of at least one group; equal scores count as wrong."""
    pairs = [pairs_of(group, attrgetter("score")) for group in groups]
    margins = [margin for found in pairs for _, margin in found]
    traces = [trace for group in groups for trace in group.traces]
    right = [[a == b for a, b in zip(trace.predicted, trace.labels, strict=True)] for trace in traces]
    return RmMetrics(
        groups=len(groups),
        traces=len(traces),
        pair_accuracy=fmean(margin > 0 for margin in margins),
        group_accuracy=fmean(all(margin > 0 for _, margin in found) for found in pairs),
        mean_margin=fmean(margins),
        total_mae=fmean(abs(trace.predicted_total - trace.total) for trace in traces),
        total_rmse=math.sqrt(fmean((trace.predicted_total - trace.total) ** 2 for trace in traces)),
        dimension_accuracy={name: fmean(row[i] for row in right) for i, name in enumerate(dimension_names)},
        kind_accuracy=accuracy_by_kind(pairs),
        calibration=calibrate([trace.predicted_total for trace in traces], [trace.total for trace in traces]),
        length_bias=_length_bias(groups),
        reference=_reference(groups, traces, dimension_names),
    )


def pairs_of(group: ScoredGroup, number: Callable[[ScoredTrace], float]) -> list[Pair]:
    """All pairs of a group, by a number for each trace."""
    return [(bad.kind or "unnamed", number(good) - number(bad)) for bad in group.negatives for good in group.positives]


def accuracy_by_kind(groups: Iterable[Iterable[Pair]]) -> dict[str, tuple[float, int]]:
    """The share of pairs in the right order by kind of flaw, and the number of pairs."""
    hits: defaultdict[str, list[bool]] = defaultdict(list)
    for kind, margin in chain.from_iterable(groups):
        hits[kind].append(margin > 0)
    return {kind: (fmean(found), len(found)) for kind, found in sorted(hits.items())}


def _length_bias(groups: Sequence[ScoredGroup]) -> LengthBias:
    lengths, scores, totals = (
        [[getattr(trace, name) for trace in group.traces] for group in groups] for name in ("length", "score", "total")
    )
    return LengthBias(
        score=correlation(_flat(lengths), _flat(scores)),
        judged=correlation(_flat(lengths), _flat(totals)),
        score_within=correlation(centred(lengths), centred(scores)),
        judged_within=correlation(centred(lengths), centred(totals)),
    )


def _reference(
    groups: Sequence[ScoredGroup], traces: Sequence[ScoredTrace], dimension_names: Sequence[str]
) -> Reference:
    middle = statistics.median(trace.total for trace in traces)
    columns = zip(dimension_names, zip(*(trace.labels for trace in traces), strict=True), strict=True)
    return Reference(
        group_accuracy=fmean(
            1 / math.comb(len(group.positives) + len(group.negatives), len(group.positives)) for group in groups
        ),
        total_mae=fmean(abs(trace.total - middle) for trace in traces),
        total_rmse=statistics.pstdev(trace.total for trace in traces),
        dimension_accuracy={name: max(Counter(labels).values()) / len(labels) for name, labels in columns},
    )


def _flat(groups: Iterable[Iterable[float]]) -> list[float]:
    return list(chain.from_iterable(groups))


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
    return [value - fmean(group) for group in groups for value in group]


def _ranks(values: Sequence[float]) -> list[float]:
    """The rank of each value, equal values sharing the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[places].tolist()
