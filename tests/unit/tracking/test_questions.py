"""The table of questions: what it charts is explained, and no curve hides another."""

from __future__ import annotations

import pytest

from tests.dashboards import explained
from tracelift_ray.tracking.questions import QUESTIONS, Question, measured


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.title)
def test_every_metric_that_is_charted_is_explained_under_its_question(question: Question) -> None:
    charted = {metric for metrics in question.charts.values() for metric in metrics} | {*question.histograms.values()}
    assert charted - set(explained(question)) == set()


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.title)
def test_every_curve_of_a_chart_has_a_label_of_its_own(question: Question) -> None:
    for metrics in question.charts.values():
        names = [metric.replace(".*", place) for metric in metrics for place in ("a", "b")]
        assert len(measured(metrics, names)) == len(set(names)), metrics
