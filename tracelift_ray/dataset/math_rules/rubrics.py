"""What the flaws of math traces cost: five labels by kind, and by whether the flaw sits in the first half."""

from __future__ import annotations

from collections.abc import Sequence

from tracelift_ray.data.rubric_records import MAX_LABEL, RubricLabels

Labels = tuple[int, int, int, int, int]
#: Labels in the order of ``types.MATH_DIMENSIONS`` (understanding, strategy, coherence, calculation, answer support)
#: of a flaw in the first half of a trace and of one in the second: the earlier, the more is built on it.
_LABELS: dict[str, tuple[Labels, Labels]] = {
    "arithmetic_slip": ((4, 4, 3, 0, 0), (4, 4, 3, 1, 1)),
    "wrong_operation": ((2, 0, 2, 4, 0), (3, 1, 2, 4, 0)),
    "swapped_quantities": ((0, 1, 3, 4, 0), (1, 2, 3, 4, 0)),
    "misread_condition": ((0, 2, 4, 4, 0), (1, 3, 4, 4, 0)),
    "contradiction": ((3, 3, 0, 3, 0), (3, 3, 0, 3, 1)),
    "dropped_step": ((3, 1, 1, 4, 1), (3, 1, 1, 4, 1)),
    "swapped_steps": ((4, 3, 0, 4, 3), (4, 3, 1, 4, 3)),
    "irrelevant_step": ((3, 2, 2, 4, 3), (4, 2, 2, 4, 3)),
    "premature_answer": ((2, 0, 3, 4, 0), (2, 1, 3, 4, 0)),
    "leaked_answer": ((4, 3, 4, 4, 0), (4, 3, 4, 4, 1)),
}
_BEST: Labels = (MAX_LABEL,) * 5


class MathRubrics:
    """``stages.RuleJudge`` of math traces."""

    def rubric(self, kind: str | None, place: float) -> RubricLabels:
        labels = _BEST if kind is None else _LABELS[kind][place >= 0.5]
        return RubricLabels(labels, rubric_total(labels))


def rubric_total(labels: Sequence[int]) -> float:
    """Half the mean and half the least of the labels, in [0, 1], so that one grave flaw counts."""
    return round(0.5 * sum(labels) / (MAX_LABEL * len(labels)) + 0.5 * min(labels) / MAX_LABEL, 4)
