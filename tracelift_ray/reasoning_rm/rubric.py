"""The reward's score q of a rubric, for scorers that are no reward model (paper, arXiv 2605.03862)."""

from __future__ import annotations

from collections.abc import Sequence

from tracelift_ray.types import RubricScore

DERIVED_WEIGHT = 0.5  # share of the rubric-derived score in q; the rest is the total
TOP_LABEL = 4


def score_of(labels: Sequence[float], total: float) -> RubricScore:
    """q = 0.5 · mean(labels) / 4 + 0.5 · total, the dimensions weighing the same.

    Args:
        labels: five, each in [0, 4].
        total: in [0, 1].
    """
    derived = sum(labels) / (TOP_LABEL * len(labels))
    return RubricScore(tuple(map(float, labels)), total, DERIVED_WEIGHT * derived + (1 - DERIVED_WEIGHT) * total)
