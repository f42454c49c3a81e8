"""Whole runs on the real stack: Ray, vLLM, DeepSpeed, the tiny models of the demo world; nothing is replaced."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.integration.training_runs import LIGHT, ROOT, records, train
from tracelift_ray.tracking.questions import QUESTIONS

#: Planner and learner on one GPU, which is declared and not there: the planner sleeps while the learner works.
ONE_GPU = (
    "cluster.num_gpus=1",
    "cluster.share_gpus=[[planner,learner]]",
    "planner.pool.gpus_per_worker=1",
    "learner.gpus_per_worker=1",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three steps of the quickstart, math and code together."""
    run_dir = tmp_path_factory.mktemp("trained")
    train(run_dir, "total_steps=3", "learner.save_every=2", *ONE_GPU)
    return run_dir


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
    metrics = {metric for question in QUESTIONS for chart in question.charts.values() for metric in chart}
    missing = {metric for metric in metrics if not any(re.fullmatch(metric, name) for name in names)}
    every_ten_seconds = {r"processes/reasoning_rm/.*/batch_traces_mean", r"processes/.*/prefix_cache_hit_percent"}
    of_gpus = {r"processes/.*/gpu_percent", r"processes/.*/gpu_memory_percent"}
    assert missing <= every_ten_seconds | of_gpus


def test_the_saved_planner_is_changed_and_loads_as_an_ordinary_model(trained: Path) -> None:
    saved = load_file(trained / "checkpoints/step-000003/planner/model.safetensors")
    start = load_file(ROOT / "tracelift_ray/demo/checkpoints/planner/model.safetensors")
    assert saved.keys() == start.keys()
    assert any(not saved[name].equal(start[name]) for name in start)


def test_every_trace_is_on_record_with_what_became_of_it(trained: Path) -> None:
    traces = [json.loads(line) for line in (trained / "trajectories.jsonl").read_text().splitlines()]
    assert len(traces) == 3 * 4 * 4
    assert {trace["task"] for trace in traces} == {"math", "code"}
    executed = [trace for trace in traces if trace["malformed"] is None]
    assert executed and all(trace["reward"] is not None and trace["rubric"] is not None for trace in executed)


def test_a_resumed_run_goes_on_where_it_stopped_with_another_engine_too(trained: Path) -> None:
    train(trained, "total_steps=4", LIGHT)
    assert [record["step"] for record in records(trained, "training")] == [1, 2, 3, 4]
    account = records(trained, "training")[-1]
    ended = sum(account[f"groups/{end}"] for end in ("trained", "filtered", "dropped", "failed"))
    still_open = sum(account[f"groups/{state}"] for state in ("running", "ready", "training"))
    assert ended == 16 and account["groups/submitted"] == 16 + still_open
    assert account["groups/dropped"] == 0
