"""The rubric that follows from a flaw by rule: what kind it is, and whether it sits in the first half of the trace."""

from __future__ import annotations

from collections.abc import Mapping

from tracelift_ray.data.rubric_records import MAX_LABEL, RubricLabels

Labels = tuple[int, int, int, int, int]
#: By kind, the labels of a flaw in the first half of a trace and of one in the second, in the order of the task's
#: dimensions: the earlier a flaw, the more is built on it.
LabelTable = Mapping[str, tuple[Labels, Labels]]


def rubric_of(table: LabelTable, kind: str | None, place: float) -> RubricLabels:
    """The rubric of a trace with a flaw of ``kind`` at ``place`` in [0, 1]; kind None: of a good trace.

    The total is half the mean and half the least of the labels, so that one grave flaw counts. Raises KeyError for a
    kind that the table lacks.
    """
    labels = (MAX_LABEL,) * 5 if kind is None else table[kind][place >= 0.5]
    return RubricLabels(labels, round(0.5 * sum(labels) / (MAX_LABEL * len(labels)) + 0.5 * min(labels) / MAX_LABEL, 4))
