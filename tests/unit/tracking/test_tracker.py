import json
from pathlib import Path

import numpy as np
import pytest

from tests.unit.tracking.worlds import group, trajectory
from tracelift_ray.config.schema import TrackingConfig
from tracelift_ray.tracking.run_dir import RunDirectory
from tracelift_ray.tracking.tracker import Tracker
from tracelift_ray.types import ScoredGroup

CONFIG = TrackingConfig("disabled", "p", None, 10, 4, "none", False, False, 0.0, 10.0, False, False, 5)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def tracker(run: RunDirectory, resume_step: int | None = None) -> Tracker:
    return Tracker(CONFIG, run, 10, {"name": "test", "seed": 3}, resume_step)


def train(one: Tracker, step: int) -> None:
    groups = [group(trajectory(0, reward=1.0), trajectory(1, reward=0.0), serial=step)]
    one.log_trajectories(step, [ScoredGroup(groups[0], (1.0, -1.0), True)], 0)
    one.log_step(step, {"reward/mean": 0.5, "learner/loss": np.float64(0.25), "learner/kl": float("nan")})


def test_every_step_is_one_line_of_flat_numbers(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path)
    one = tracker(run)
    one.log_evaluation(0, {"evaluation/math/accuracy": 0.5})
    train(one, 1)
    one.close()
    evaluation, step = lines(run.metrics_path)
    assert (evaluation["step"], evaluation["kind"]) == (0, "evaluation")
    assert (step["step"], step["kind"], step["reward/mean"], step["learner/loss"]) == (1, "training", 0.5, 0.25)
    assert step["learner/kl"] is None and step["time"] > 1e9
    assert [r["advantage"] for r in lines(run.trajectories_path)] == [1.0, -1.0]


def test_a_resumed_run_holds_every_step_once(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path)
    first = tracker(run)
    first.log_evaluation(0, {"evaluation/math/accuracy": 0.5})
    for step in (1, 2, 3):
        train(first, step)
    first.log_evaluation(3, {"evaluation/math/accuracy": 0.6})
    # Killed here; the newest checkpoint is of step 2.
    second = tracker(run, resume_step=2)
    assert second.has_evaluation(0) and not second.has_evaluation(3)
    assert second.last_evaluation() == (0, {"evaluation/math/accuracy": 0.5})
    for step in (3, 4):
        train(second, step)
    second.close()
    assert [(r["step"], r["kind"]) for r in lines(run.metrics_path)] == [
        (0, "evaluation"), (1, "training"), (2, "training"), (3, "training"), (4, "training"),
    ]  # fmt: skip
    assert [r["step"] for r in lines(run.trajectories_path)] == [1, 1, 2, 2, 3, 3, 4, 4]


def test_a_start_from_the_beginning_sets_older_files_aside(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path)
    for _ in range(2):
        one = tracker(run)
        train(one, 1)
        one.close()
    assert [r["step"] for r in lines(run.metrics_path)] == [1]
    assert [r["step"] for r in lines(tmp_path / "metrics.1.jsonl")] == [1]


def test_advantages_must_fit_the_groups(tmp_path: Path) -> None:
    one = tracker(RunDirectory.create(tmp_path))
    with pytest.raises(ValueError):
        one.log_trajectories(1, [ScoredGroup(group(trajectory(reward=1.0)), (1.0, 0.0), True)], 0)
    one.close()
