"""The rubric that follows from a flaw in a plan: what kind it is, and where the plan goes wrong.

Labels are 0..4 in the order of ``types.CODE_DIMENSIONS``: task understanding, plan quality, step coherence, action
support, non-leakage. A mistake early in a plan spoils more of what follows than one at its end.
"""

from __future__ import annotations

from tracelift_ray.data.rubric_records import MAX_LABEL, RubricLabels
from tracelift_ray.dataset.math_rules.rubrics import rubric_total

_BEST = (MAX_LABEL,) * 5
_HALF = 0.5
Labels = tuple[int, int, int, int, int]
#: Labels of a flaw in the first half of a plan, and of one in the second.
_LABELS: dict[str, tuple[Labels, Labels]] = {
    "wrong_algorithm": ((2, 0, 3, 1, 4), (3, 1, 3, 1, 4)),
    "wrong_data_structure": ((3, 1, 2, 1, 4), (3, 1, 3, 2, 4)),
    "missed_edge_case": ((2, 2, 4, 3, 4), (3, 2, 4, 3, 4)),
    "off_by_one": ((4, 2, 3, 2, 4), (4, 2, 4, 2, 4)),
    "wrong_complexity": ((4, 1, 3, 3, 4), (4, 1, 4, 3, 4)),
    "leaked_implementation": ((4, 4, 3, 4, 0), (4, 4, 3, 4, 0)),
}
KINDS = tuple(_LABELS)


class CodeRubrics:
    """Implements ``stages.RuleJudge`` for code."""

    def rubric(self, kind: str | None, place: float) -> RubricLabels:
        """The rubric of a plan with a flaw of ``kind`` at ``place`` in [0, 1]; kind None: of a good plan.

        Raises:
            KeyError: no such kind.
        """
        labels = _BEST if kind is None else _LABELS[kind][place >= _HALF]
        return RubricLabels(labels, rubric_total(labels))
