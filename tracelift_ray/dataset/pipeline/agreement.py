"""How far two judges agree about the same traces."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from tracelift_ray.data.rubric_records import RubricLabels


@dataclass(frozen=True)
class Agreement:
    """Two judges side by side.

    Attributes:
        traces: those that both gave a rubric.
        exact, within_one: share of equal labels, and of labels at most one apart, of each dimension in order.
        total_error: mean difference of the totals, without sign.
        order: share of pairs of a good and a flawed trace of one problem that both judges put in the same order, of
            the pairs that neither finds equal; None without such a pair.
    """

    traces: int
    exact: tuple[float, ...]
    within_one: tuple[float, ...]
    total_error: float
    order: float | None


@dataclass(frozen=True)
class TwoOpinions:
    """Two judges' rubrics of the traces of one problem; the first ``positives`` traces are the good ones."""

    positives: int
    first: Sequence[RubricLabels | None]
    second: Sequence[RubricLabels | None]


def agreement(opinions: Sequence[TwoOpinions]) -> Agreement | None:
    """The agreement over many problems; None where the judges have no trace in common."""
    both = [(a, b) for o in opinions for a, b in zip(o.first, o.second, strict=True) if a is not None and b is not None]
    if not both:
        return None
    apart = [[abs(x - y) for x, y in zip(a.labels, b.labels, strict=True)] for a, b in both]
    columns = list(zip(*apart, strict=True))
    orders = [order for o in opinions for order in _orders(o)]
    return Agreement(
        len(both),
        tuple(sum(gap == 0 for gap in column) / len(both) for column in columns),
        tuple(sum(gap <= 1 for gap in column) / len(both) for column in columns),
        sum(abs(a.total - b.total) for a, b in both) / len(both),
        sum(orders) / len(orders) if orders else None,
    )


def _orders(opinions: TwoOpinions) -> list[bool]:
    """Whether the judges agree on each pair of a good and a flawed trace."""
    pairs = itertools.product(range(opinions.positives), range(opinions.positives, len(opinions.first)))
    margins = [(_margin(opinions.first, *pair), _margin(opinions.second, *pair)) for pair in pairs]
    return [(a > 0) == (b > 0) for a, b in margins if a and b]


def _margin(rubrics: Sequence[RubricLabels | None], good: int, bad: int) -> float:
    one, other = rubrics[good], rubrics[bad]
    return 0.0 if one is None or other is None else one.total - other.total
