"""Figures of a data set: kinds, labels, lengths, and what a rule that looks at length alone would score."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tracelift_ray.data.rubric_records import MAX_LABEL, RubricRecord, RubricTrace
from tracelift_ray.tasks.table import task_of


@dataclass(frozen=True)
class KindFigures:
    """One kind of flaw: how many traces have it, the mean total of their rubrics, and ``shorter_wins``: the share of
    pairs with a good trace of the same problem that "the longer one is flawed" gets right, a tie counted as half. 0.5
    says that length tells nothing.
    """

    traces: int
    mean_total: float
    shorter_wins: float


@dataclass(frozen=True)
class TaskFigures:
    """The records of one task.

    Attributes:
        kinds: figures by kind, the most frequent first.
        shorter_wins: as in ``KindFigures``, over all pairs.
        labels: for each dimension, how many good and how many flawed traces have each label 0..4.
        good_chars, flawed_chars: the 5th, 50th and 95th percentile of the length in characters.
    """

    records: int
    good: int
    flawed: int
    kinds: dict[str, KindFigures]
    shorter_wins: float
    labels: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    good_chars: tuple[int, int, int]
    flawed_chars: tuple[int, int, int]


def task_figures(records: Sequence[RubricRecord], task: str) -> TaskFigures | None:
    """The figures of one task; None where no record is of it."""
    own = [record for record in records if record.task == task]
    if not own:
        return None
    good = [trace for record in own for trace in record.positives]
    flawed = [trace for record in own for trace in record.negatives]
    labels = {
        name: (_histogram(good, column), _histogram(flawed, column))
        for column, name in enumerate(task_of(task).dimensions)
    }
    wins: dict[str, list[float]] = defaultdict(list)
    totals: dict[str, list[float]] = defaultdict(list)
    for record in own:
        for trace in record.negatives:
            wins[trace.negative_kind or "unnamed"].append(_shorter_wins(record, trace))
            totals[trace.negative_kind or "unnamed"].append(trace.total)
    ordered = sorted(wins, key=lambda kind: (-len(wins[kind]), kind))
    kinds = {kind: KindFigures(len(wins[kind]), _mean(totals[kind]), _mean(wins[kind])) for kind in ordered}
    every = _mean([win for values in wins.values() for win in values])
    return TaskFigures(len(own), len(good), len(flawed), kinds, every, labels, _spread(good), _spread(flawed))


def _shorter_wins(record: RubricRecord, flawed: RubricTrace) -> float:
    gaps = [len(flawed.reasoning) - len(good.reasoning) for good in record.positives]
    return _mean([1.0 if gap > 0 else 0.5 if gap == 0 else 0.0 for gap in gaps])


def _histogram(traces: Iterable[RubricTrace], column: int) -> tuple[int, ...]:
    counts = Counter(trace.labels[column] for trace in traces)
    return tuple(counts[label] for label in range(MAX_LABEL + 1))


def _spread(traces: Iterable[RubricTrace]) -> tuple[int, int, int]:
    lengths = sorted(len(trace.reasoning) for trace in traces)
    low, middle, high = (lengths[round(share * (len(lengths) - 1))] for share in (0.05, 0.5, 0.95))
    return low, middle, high


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
