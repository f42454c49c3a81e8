"""Whole runs on the real stack: Ray, vLLM, DeepSpeed, the tiny models of the demo world; nothing is replaced."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.dashboards import explained
from tests.integration.training_runs import LIGHT, ROOT, records, train
from tests.sinks import tensorboard_histograms, tensorboard_scalars, wandb_artifacts, wandb_rows
from tests.unit.tracking.browser import opened_page, shown, started_chromium, wait_for_count
from tracelift_ray.tracking.questions import QUESTIONS
from tracelift_ray.tracking.report import write_report
from tracelift_ray.tracking.wandb_sink import GROUPS

#: Planner and learner on one GPU, which is declared and not there: the planner sleeps while the learner works.
ONE_GPU = (
    "cluster.num_gpus=1",
    "cluster.share_gpus=[[planner,learner]]",
    "planner.pool.gpus_per_worker=1",
    "learner.gpus_per_worker=1",
)


#: Curves that no run without GPUs has.
OF_GPUS = {r"processes/.*/gpu_percent", r"processes/.*/gpu_memory_percent", "learner/peak_percent"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three steps of the quickstart, math and code together. Processes are read often enough for steps of seconds."""
    run_dir = tmp_path_factory.mktemp("trained")
    tracking = ("tracking.wandb=offline", "tracking.timeline=true", "tracking.usage_s=0.5")
    saving = ("learner.save_every=2", "tracking.wandb_artifacts=planner")
    train(run_dir, "total_steps=3", *saving, *tracking, *ONE_GPU)
    return run_dir


def unanswered(names: Collection[str]) -> set[str]:
    """The metrics of the five questions, in charts or on the page that explains them, that none of ``names`` is."""
    metrics = {metric for question in QUESTIONS for chart in question.charts.values() for metric in chart}
    return {
        metric
        for metric in metrics.union(*map(explained, QUESTIONS))
        if not any(re.fullmatch(metric, name) for name in names)
    }


def trajectories(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "trajectories.jsonl").read_text().splitlines()]


def test_a_run_trains_evaluates_and_saves(trained: Path) -> None:
    steps = records(trained, "training")
    assert [record["step"] for record in steps] == [1, 2, 3]
    assert steps[-1]["stream/version"] >= 2  # a step of so few groups may hold no signal
    assert all(record["stream/staleness_max"] == 0 for record in steps)
    assert all(record["weights/engines"] == 1 for record in steps if "weights/engines" in record)
    assert max(record.get("learner/mismatch_max", 0.0) for record in steps) < 1e-3
    assert [record["step"] for record in records(trained, "evaluation")] == [0, 3]
    for record in records(trained, "evaluation"):
        for task in ("math", "code"):
            assert 0 <= record[f"evaluation/{task}/trace_validity"] <= 1
            assert record[f"evaluation/{task}/rm_score"] > 0
    assert sorted(p.name for p in (trained / "checkpoints").iterdir()) == ["step-000002", "step-000003"]
    card = (trained / "checkpoints" / "step-000003" / "planner" / "README.md").read_text("utf-8")
    assert "accuracy with the trace" in card and "code: R = " in card


def test_every_question_has_an_answer_in_the_metrics_of_a_step(trained: Path) -> None:
    names = {name for kind in ("training", "evaluation") for record in records(trained, kind) for name in record}
    histograms = {metric for metric in unanswered(names) if metric.startswith("distribution/")}
    assert unanswered(names) <= histograms | OF_GPUS


def test_every_group_of_metrics_has_the_step_axis_in_w_and_b(trained: Path) -> None:
    names = {name for kind in ("training", "evaluation") for record in records(trained, kind) for name in record}
    assert {name.partition("/")[0] for name in names if "/" in name} <= set(GROUPS)


def test_w_and_b_and_tensorboard_hold_the_answers_too_with_the_same_values(trained: Path) -> None:
    """Read back from the files of an offline run."""
    recorded = {
        (record["step"], name): float(value)
        for kind in ("training", "evaluation")
        for record in records(trained, kind)
        for name, value in record.items()
        if "/" in name and math.isfinite(value)
    }
    rows = {(row["step"], name): value for row in wandb_rows(trained) for name, value in row.items()}
    events = {(step, name): value for step, name, value in tensorboard_scalars(trained / "tensorboard")}
    drawn = {name.removesuffix("/_type") for _, name in rows}  # a histogram is a row of its parts
    for found, histograms in ((rows, drawn), (events, tensorboard_histograms(trained / "tensorboard"))):
        assert unanswered({name for _, name in found}.union(histograms)) <= OF_GPUS
        assert {key: found.get(key) for key in recorded} == pytest.approx(recorded, rel=1e-6)


def test_each_saved_planner_is_an_artifact_of_the_w_and_b_run(trained: Path) -> None:
    artifacts = wandb_artifacts(trained)
    assert [aliases for _, aliases, _ in artifacts] == [{"latest", "step-000002"}, {"latest", "step-000003"}]
    for name, aliases, files in artifacts:
        (step,) = aliases - {"latest"}
        planner = trained / "checkpoints" / step / "planner"
        assert name.startswith("planner-")
        assert files == {path.name: path.read_bytes() for path in planner.iterdir()} and "model.safetensors" in files


def test_the_timeline_shows_the_loop_the_groups_and_every_pool_at_work(trained: Path) -> None:
    with gzip.open(trained / "timeline.json.gz", "rt") as file:
        events = json.load(file)["traceEvents"]
    processes = {event["args"]["name"] for event in events if event["name"] == "process_name"}
    pools = {f"pool {name}" for name in ("planner", "executor", "verifier", "reasoning_rm")}
    assert processes == {"loop", "groups", *pools}
    spans = {event["name"] for event in events if event["ph"] == "X"}
    assert {"rollout", "update", "broadcast", "generate", "verify", "score"} <= spans


def test_the_saved_planner_is_changed_and_loads_as_an_ordinary_model(trained: Path) -> None:
    saved = load_file(trained / "checkpoints/step-000003/planner/model.safetensors")
    start = load_file(ROOT / "tracelift_ray/demo/checkpoints/planner/model.safetensors")
    assert saved.keys() == start.keys()
    assert any(not saved[name].equal(start[name]) for name in start)


def test_every_trace_is_on_record_with_what_became_of_it(trained: Path) -> None:
    traces = trajectories(trained)
    assert len(traces) == 3 * 4 * 4
    assert {trace["task"] for trace in traces} == {"math", "code"}
    executed = [trace for trace in traces if trace["malformed"] is None]
    assert executed and all(trace["reward"] is not None and trace["rubric"] is not None for trace in executed)


def test_the_report_of_a_run_opens_in_a_browser_and_filters_its_traces(trained: Path, tmp_path: Path) -> None:
    report = write_report([trained], tmp_path)
    assert report.table is not None and any("±" in cell for row in report.table.rows for cell in row)
    with started_chromium() as chromium, opened_page(chromium, report.page) as page:
        assert shown(page).startswith("12 of 12 groups, 48 traces")
        code = sum(trace["task"] == "code" and trace["index"] == 0 for trace in trajectories(trained))
        page.select_option("#task", "code")
        wait_for_count(page, code)
        assert 0 < code < 12 and "code, step" in page.inner_text("#group h3 >> nth=0")


def test_a_resumed_run_goes_on_where_it_stopped_with_another_engine_too(trained: Path) -> None:
    train(trained, "total_steps=4", LIGHT)
    assert [record["step"] for record in records(trained, "training")] == [1, 2, 3, 4]
    account = records(trained, "training")[-1]
    ended = sum(account[f"groups/{end}"] for end in ("trained", "filtered", "dropped", "failed"))
    still_open = sum(account[f"groups/{state}"] for state in ("running", "ready", "training"))
    assert ended == 16 and account["groups/submitted"] == 16 + still_open
    assert account["groups/dropped"] == 0
