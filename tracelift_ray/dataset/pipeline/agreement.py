"""How far two judges agree about the same traces."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tracelift_ray.data.rubric_records import RubricLabels
from tracelift_ray.dataset.pipeline.drafts import Draft


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


def agreement(drafts: Sequence[Draft]) -> Agreement | None:
    """The agreement over many problems; None where there is one judge, or the two have no trace in common."""
    judged = [zip(draft.traces, *draft.rubrics, strict=True) for draft in drafts if len(draft.rubrics) == 2]
    common = [[(t.kind, a, b) for t, a, b in traces if a is not None and b is not None] for traces in judged]
    pairs = [(a, b) for traces in common for _, a, b in traces]
    if not pairs:
        return None
    apart = [[abs(x - y) for x, y in zip(a.labels, b.labels, strict=True)] for a, b in pairs]
    columns = list(zip(*apart, strict=True))
    orders = [order for traces in common for order in _orders(traces)]
    return Agreement(
        len(pairs),
        tuple(sum(gap == 0 for gap in column) / len(pairs) for column in columns),
        tuple(sum(gap <= 1 for gap in column) / len(pairs) for column in columns),
        sum(abs(a.total - b.total) for a, b in pairs) / len(pairs),
        sum(orders) / len(orders) if orders else None,
    )


def _orders(traces: Sequence[tuple[str | None, RubricLabels, RubricLabels]]) -> Iterator[bool]:
    """Whether the judges agree on each pair of a good and a flawed trace of a problem that neither finds equal."""
    good = [(a, b) for kind, a, b in traces if kind is None]
    flawed = [(a, b) for kind, a, b in traces if kind is not None]
    for (a, b), (worse_a, worse_b) in itertools.product(good, flawed):
        one, other = a.total - worse_a.total, b.total - worse_b.total
        if one and other:
            yield (one > 0) == (other > 0)
