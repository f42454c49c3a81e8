"""TensorBoard's files hold every step once, histograms and the five questions; what breaks them breaks no run."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto.layout_pb2 import Layout

from tests.hang import HANG_S
from tests.sinks import tensorboard_events, tensorboard_histograms, tensorboard_scalars
from tests.unit.tracking.worlds import group, trajectory
from tracelift_ray.config.schema import TrackingConfig
from tracelift_ray.rl.metrics import UpdateMetrics
from tracelift_ray.tracking.aggregate import batch_metrics
from tracelift_ray.tracking.distributions import distributions
from tracelift_ray.tracking.questions import QUESTIONS
from tracelift_ray.tracking.run_dir import RunDirectory
from tracelift_ray.tracking.tensorboard_sink import TensorBoardSink
from tracelift_ray.tracking.tracker import Tracker
from tracelift_ray.types import ScoredGroup

ROOT = Path(__file__).resolve().parents[3]
ON = TrackingConfig("disabled", "p", None, 0, 0, "none", True, False, 0.0, 10.0, False, False, 5)


def step(tracker: Tracker, number: int) -> None:
    scored = ScoredGroup(group(trajectory(0, reward=1.0), trajectory(1, reward=0.25)), (1.0, -1.0), True)
    tracker.log_trajectories(number, [scored], 0)
    tracker.log_step(number, {"reward/mean": number / 4, "learner/kl": float("nan")})


def test_a_run_writes_its_metrics_and_histograms_and_a_resume_drops_later_steps(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path)
    first = Tracker(ON, run, 9, {"name": "t"})
    first.log_evaluation(0, {"evaluation/math/accuracy": 0.5})
    for number in (1, 2, 3):
        step(first, number)
    first.close()
    second = Tracker(ON, run, 9, {"name": "t"}, resume_step=2)
    for number in (3, 4):
        step(second, number)
    second.close()
    assert tensorboard_scalars(run.tensorboard_path) == [
        (0, "evaluation/math/accuracy", 0.5),
        *((number, "reward/mean", number / 4) for number in (1, 2, 3, 4)),
    ]
    found = tensorboard_histograms(run.tensorboard_path)
    assert found["distribution/reward"] == 2 and found["distribution/advantage"] == 2
    Tracker(ON, run, 9, {"name": "t"}).close()
    assert tensorboard_scalars(run.tensorboard_path) == [] and tensorboard_scalars(tmp_path / "tensorboard.1")


def test_curves_lie_under_the_questions(tmp_path: Path) -> None:
    TensorBoardSink(tmp_path, None, print).close()
    (value,) = (
        value for event in tensorboard_events(tmp_path) for value in event.summary.value if "custom" in value.tag
    )
    layout = Layout.FromString(value.tensor.string_val[0])
    assert [category.title for category in layout.category] == [
        f"{i} {each.title}" for i, each in enumerate(QUESTIONS, 1)
    ]
    assert all(chart.multiline.tag for category in layout.category for chart in category.chart)


def test_every_curve_and_every_metric_of_an_update_is_named_in_the_docs() -> None:
    page = (ROOT / "docs/data.md").read_text("utf-8")
    for field in dataclasses.fields(UpdateMetrics):
        assert f"`{field.name}`" in page, field.name
    for charts in (question.charts for question in QUESTIONS):
        for metric in (metric for metrics in charts.values() for metric in metrics):
            assert f"`{metric.rpartition('/')[2]}`" in page, metric
            re.compile(metric)


def test_no_directory_to_write_to_is_one_line_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("a file")
    said: list[str] = []
    sink = TensorBoardSink(tmp_path / "tensorboard", None, said.append)
    sink.log(1, {"reward/mean": 1.0})
    sink.log_distributions(1, {"distribution/reward": [1.0]})
    sink.close()
    sink.close()
    assert len(said) == 1 and said[0].startswith("TensorBoard: stopped (")


def test_distributions_leave_out_what_no_trace_has() -> None:
    scored = ScoredGroup(group(trajectory(0, reward=1.0), trajectory(1, reward=None)), (0.5, None), True)
    found = distributions([scored], 0)
    assert found["distribution/reward"] == [1.0] and found["distribution/advantage"] == [0.5]
    assert found["distribution/staleness"] == [0.0, 0.0] and len(found["distribution/trace_tokens"]) == 2
    assert distributions([], 0) == {}


def test_staleness_counts_from_the_weights_that_the_step_trained() -> None:
    traces = (trajectory(0, version=3), trajectory(1, version=5), trajectory(2, version=1, masked="timeout"))
    scored = ScoredGroup(group(*traces), (0.5, -0.5, None), True)
    for version in (5, 7):
        found = distributions([scored], version)["distribution/staleness"]
        assert found == [version - 3, version - 5]
        assert sum(found) / 2 == batch_metrics([scored], version)["stream/staleness_mean"]


def test_off_writes_nothing(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path)
    one = Tracker(
        TrackingConfig("disabled", "p", None, 0, 0, "none", False, False, 0.0, 10.0, False, False, 5),
        run,
        9,
        {"name": "t"},
    )
    step(one, 1)
    one.close()
    assert not run.tensorboard_path.exists()
    assert [json.loads(line)["step"] for line in run.metrics_path.read_text().splitlines()] == [1]


def test_w_and_b_gets_the_histograms_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[dict[str, Any]] = []
    run = RunDirectory.create(tmp_path)
    one = Tracker(
        TrackingConfig("offline", "p", None, 0, 0, "none", False, False, 0.0, 10.0, False, False, 5),
        run,
        9,
        {"name": "t"},
    )
    assert one._wandb is not None
    monkeypatch.setattr(one._wandb, "log", lambda step, metrics: rows.append({"step": step, **metrics}))
    step(one, 1)
    one.close()
    assert {"distribution/reward", "distribution/staleness"} <= rows[0].keys() and rows[0]["step"] == 1


def test_opening_the_files_imports_no_torch_and_keeps_nobody_from_it(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from tracelift_ray.tracking.tensorboard_sink import TensorBoardSink\n"
        "sink = TensorBoardSink(Path(sys.argv[1]), None, print)\n"
        "sink.log(1, {'reward': 0.5})\nsink.close()\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, timeout=HANG_S)
    assert done.stdout == "False\n", done.stderr
    assert any(event.summary.value for event in tensorboard_events(tmp_path))
