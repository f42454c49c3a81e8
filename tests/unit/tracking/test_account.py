"""The account of a run is read from its files alone, and finds what was lost, duplicated or never scored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tracelift_ray.tracking.account import Account, account_of
from tracelift_ray.tracking.run_dir import RunDirectory

Rows = list[dict[str, Any]]
STATES = ("running", "ready", "training", "trained", "filtered", "dropped", "failed")


def run_of(steps: int = 3) -> tuple[Rows, Rows]:
    """Two groups of two traces each step; two more groups run; of each step's, one had no signal."""
    metrics: Rows = []
    traces: Rows = []
    for step in range(1, steps + 1):
        counts = dict.fromkeys(STATES, 0) | {"running": 2, "trained": step, "filtered": step}
        record = {"step": step, "kind": "training", "stream/version": step, "groups/submitted": 2 * step + 2}
        metrics.append(record | {f"groups/{state}": count for state, count in counts.items()})
        for group in (2 * step - 2, 2 * step - 1):
            common = {"step": step, "group": group, "masked": None, "reward": 0.5, "advantage": 0.1}
            common |= {"malformed": None, "verdicts": [{"outcome": "passed"}], "fresh": None, "rubric": None}
            traces += [common | {"index": index} for index in range(2)]
    return metrics, traces


def account(path: Path, metrics: Rows, traces: Rows) -> Account:
    run = RunDirectory.create(path)
    for file, rows in ((run.metrics_path, metrics), (run.trajectories_path, traces)):
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return account_of(run)


def test_a_run_in_which_nothing_is_wrong(tmp_path: Path) -> None:
    metrics, traces = run_of()
    traces[0] |= {"masked": "executor: gone", "reward": None, "advantage": None}
    traces[1] |= {"malformed": "unclosed", "verdicts": []}
    assert account(tmp_path, metrics, traces) == Account(3, 6, 0, 0, 0, 1, ())


@pytest.mark.parametrize(
    ("harm", "field"),
    [
        (lambda metrics, traces: traces.__delitem__(slice(4, 6)), "lost"),
        (lambda metrics, traces: traces.append(traces[0] | {"step": 3}), "duplicated"),
        (lambda metrics, traces: traces.append(traces[0]), "duplicated"),
        (lambda metrics, traces: traces[3].update(verdicts=[]), "unscored"),
        (lambda metrics, traces: traces[3].update(reward=None), "unscored"),
        (lambda metrics, traces: traces[3].update(masked="planner: gone"), "unscored"),
    ],
)
def test_each_harm_is_counted_where_it_belongs(tmp_path: Path, harm: Callable[[Rows, Rows], Any], field: str) -> None:
    metrics, traces = run_of()
    harm(metrics, traces)
    found = account(tmp_path, metrics, traces)
    assert getattr(found, field) == 1 and not found.holds


def test_steps_versions_and_sums_that_do_not_hold_are_lines(tmp_path: Path) -> None:
    metrics, traces = run_of()
    metrics[2] |= {"step": 2, "stream/version": 1, "groups/submitted": 9}
    assert account(tmp_path, metrics, traces).broken == (
        "the steps are not there once and in order",
        "a version falls",
        "step 2: 9 submitted, 8 accounted",
    )


def test_a_dropped_group_has_no_traces_and_is_not_lost(tmp_path: Path) -> None:
    metrics, traces = run_of()
    del traces[4:6]
    metrics[-1] |= {"groups/trained": 2, "groups/failed": 1}
    assert account(tmp_path, metrics, traces).holds
