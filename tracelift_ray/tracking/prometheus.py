"""Metrics as Prometheus knows them: what each is called there, and the Grafana dashboard that shows them.

A metric ``pools/planner/queued`` is the series ``tracelift_pools_queued`` with the label ``of="planner"``: the first
and the last part name it, what lies between is the label. Ray's exporter puts ``ray_`` before it. The dashboard is made
of the table of questions: ``make reference`` writes it to ``docs/grafana.json``.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tracelift_ray.tracking.questions import QUESTIONS, Question

#: What Ray's exporter puts before every name.
EXPORTED = "ray_"
#: Columns of a Grafana dashboard, and what a panel takes of them.
COLUMNS, WIDTH, HEIGHT = 24, 8, 8


def series(metric: str) -> tuple[str, str]:
    """The name of a metric's series, and its label ``of``, empty where nothing lies between first and last part."""
    first, *between = metric.split("/")
    last = between.pop() if between else ""
    return re.sub(r"\W", "_", f"tracelift_{first}_{last}".rstrip("_")), "/".join(between)


def dashboard() -> str:
    """A Grafana dashboard as JSON: a row for each question, a panel for each of its charts, and a choice of the run."""
    panels: list[dict[str, Any]] = []
    below = 0
    for number, question in enumerate(QUESTIONS, start=1):
        title = f"{number} {question.title}"
        panels.append(
            {"type": "row", "title": title, "collapsed": False, "gridPos": _place(below, 0, COLUMNS, 1), "panels": []}
        )
        panels += _panels(question, below + 1)
        below = panels[-1]["gridPos"]["y"] + HEIGHT
    for identity, panel in enumerate(panels, start=1):
        panel["id"] = identity
    return json.dumps(_around(panels), indent=1) + "\n"


def _panels(question: Question, below: int) -> list[dict[str, Any]]:
    across = COLUMNS // WIDTH
    return [
        {
            "type": "timeseries",
            "title": chart,
            "description": question.well,
            "datasource": {"type": "prometheus", "uid": "${source}"},
            "gridPos": _place(below + place // across * HEIGHT, place % across * WIDTH, WIDTH, HEIGHT),
            "fieldConfig": {"defaults": {"custom": {"showPoints": "never"}}, "overrides": []},
            "targets": [_target(metric, chr(ord("A") + index)) for index, metric in enumerate(metrics)],
        }
        for place, (chart, metrics) in enumerate(question.charts.items())
    ]


def _target(metric: str, letter: str) -> dict[str, str]:
    """A query for a metric of the table, in which ``.*`` stands for tasks or members."""
    name, of = series(metric)
    labels = f'run=~"$run",of=~"{of}"'
    return {
        "refId": letter,
        "expr": f"{EXPORTED}{name}{{{labels}}}",
        "legendFormat": f"{{{{run}}}} {{{{of}}}} {metric.rpartition('/')[2]}",
    }


def _place(y: int, x: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _around(panels: list[dict[str, Any]]) -> dict[str, Any]:
    steps = f"{EXPORTED}{series('time/step_s')[0]}"
    source = {"name": "source", "label": "source", "type": "datasource", "query": "prometheus"}
    run = {
        "name": "run",
        "label": "run",
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "query": {"query": f"label_values({steps}, run)", "refId": "runs"},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
    }
    return {
        "title": "tracelift-ray",
        "uid": "tracelift-ray",
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [source, run]},
        "panels": panels,
    }
