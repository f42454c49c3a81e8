"""Names in Prometheus, and the Grafana dashboard of the table of questions."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.unit.tracking.test_tracker import CONFIG
from tracelift_ray.tracking.prometheus import COLUMNS, dashboard, series
from tracelift_ray.tracking.questions import QUESTIONS
from tracelift_ray.tracking.run_dir import RunDirectory
from tracelift_ray.tracking.tracker import Tracker

NAMES = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@pytest.mark.parametrize(
    ("metric", "name", "of"),
    [
        ("reward/mean", "tracelift_reward_mean", ""),
        ("reward/math/mean", "tracelift_reward_mean", "math"),
        ("processes/planner/0/rss_mib", "tracelift_processes_rss_mib", "planner/0"),
        ("faults/service-1", "tracelift_faults_service_1", ""),
        ("single", "tracelift_single", ""),
    ],
)
def test_what_lies_between_is_a_label(metric: str, name: str, of: str) -> None:
    assert series(metric) == (name, of) and NAMES.fullmatch(name)


def test_the_dashboard_has_a_row_for_each_question_and_a_panel_for_each_chart() -> None:
    panels = json.loads(dashboard())["panels"]
    rows = [panel["title"] for panel in panels if panel["type"] == "row"]
    assert rows == [f"{number} {question.title}" for number, question in enumerate(QUESTIONS, 1)]
    charts = {chart: metrics for question in QUESTIONS for chart, metrics in question.charts.items()}
    shown = {panel["title"]: panel["targets"] for panel in panels if panel["type"] != "row"}
    assert shown.keys() == charts.keys()
    assert all(len(shown[chart]) == len(metrics) for chart, metrics in charts.items())
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    taken = {(at["y"] + down, at["x"] + right) for at in places for down in range(at["h"]) for right in range(at["w"])}
    assert len(taken) == sum(at["w"] * at["h"] for at in places) and max(x for _, x in taken) < COLUMNS


def test_a_query_finds_the_series_of_its_metric_and_of_no_other() -> None:
    text = dashboard()
    assert r"ray_tracelift_reward_mean{run=~\"$run\",of=~\"\"}" in text  # without those of tasks
    assert r"ray_tracelift_pools_queued_mean{run=~\"$run\",of=~\".*\"}" in text
    assert r"ray_tracelift_processes_batch_traces_mean{run=~\"$run\",of=~\"reasoning_rm/.*\"}" in text


def test_a_sink_from_outside_gets_finite_numbers_alone(tmp_path: Path) -> None:
    seen: list[tuple[int, dict[str, float]]] = []

    class Sink:
        def log(self, step: int, metrics: dict[str, float]) -> None:
            seen.append((step, metrics))

    tracker = Tracker(CONFIG, RunDirectory.create(tmp_path / "run"), 9, {"name": "t"}, sinks=[Sink()])
    tracker.log_step(1, {"reward/mean": 0.5, "learner/loss": float("nan")})
    tracker.log_evaluation(1, {"evaluation/math/accuracy": 0.25})
    tracker.close()
    assert seen == [(1, {"reward/mean": 0.5}), (1, {"evaluation/math/accuracy": 0.25})]
