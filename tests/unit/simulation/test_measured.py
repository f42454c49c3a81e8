"""A workload from a run's own metrics: what the run did in its seconds is what the simulation is given."""

import json

import pytest
import yaml

from launch.composition import composed
from tracelift_ray.errors import DataError
from tracelift_ray.planning.run_config import to_run_config
from tracelift_ray.simulation.capacity import forecast
from tracelift_ray.simulation.measured import measured

SETTINGS = {
    "name": "run", "seed": 0, "reward": {"arm": "tracelift"},
    "algorithm": {"groups_per_step": 4, "group_size": 4}, "stream": {"max_staleness": 0}, "learner": {"num_workers": 2},
    "planner": {"sampling": {"max_new_tokens": 200}, "engine": {"max_num_seqs": 64}},
    "executor": {"sampling": {"max_new_tokens": 50}, "engine": {"max_num_seqs": 64}},
}  # fmt: skip
#: A step of 8 s: 4 s of 16 traces of 100 tokens, then 1 s of 2 artifacts of 25 tokens each, 2 s of update, 0.5 s of
#: weights, 0.5 s of saving.
STEP = {
    "time/step_s": 8.0, "time/rollout": 5 / 8, "time/update": 2 / 8, "time/broadcast": 0.5 / 8, "time/save": 0.5 / 8,
    "rates/planner_prompts_per_s": 2.0, "rates/planner_tokens_per_s": 200.0,
    "rates/executor_prompts_per_s": 2.0, "rates/executor_tokens_per_s": 100.0,
    "rates/verifier_runs_per_s": 4.0, "rates/scored_traces_per_s": 2.0, "stream/staleness_mean": 0.0,
    "pools/planner/idle": 0.5, "pools/planner/calls_per_s": 2.0,
    "pools/planner/call_p50_s": 4.0, "pools/planner/call_p95_s": 4.0,
    "pools/executor/idle": 7 / 8, "pools/executor/calls_per_s": 2.0,
    "pools/executor/call_p50_s": 1.0, "pools/executor/call_p95_s": 1.0,
    "pools/reasoning_rm/idle": 1.0, "pools/verifier/idle": 1.0,
} | {f"pools/{name}/members": 1.0 for name in ("planner", "executor", "reasoning_rm", "verifier")}  # fmt: skip


def written(tmp_path, steps):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(SETTINGS))
    records = [{"step": step, "kind": "training", **metrics} for step, metrics in enumerate(steps, 1)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return measured(str(tmp_path))


def test_a_run_without_variation_is_forecast_as_it_was(tmp_path):
    slow_start = STEP | {"time/step_s": 100.0}
    run = written(tmp_path, [slow_start, STEP, STEP, STEP])
    assert run.work.planner.alone_s == pytest.approx(4 / 1600)
    assert run.work.traces.mean == pytest.approx(100) and run.work.artifacts.mean == pytest.approx(25)
    assert (run.work.samples, run.split.learner, run.step_s) == (2, 2, 8.0)
    base = to_run_config(composed("config", ["experiment=quickstart"]))
    ahead = forecast(run.work, run.split, *run.settings(base.algorithm, base.stream), run.steps)
    assert ahead.step_s == pytest.approx(8.0)


def test_speed_is_split_by_how_the_number_of_requests_varied(tmp_path):
    # A token takes 0.02 s + 0.01 s for each request: 4 requests 0.06 s, 9 requests 0.11 s.
    few, many = (
        STEP | {"pools/planner/idle": 0.0, "pools/planner/call_p50_s": held / 2, "rates/planner_tokens_per_s": held / s}
        for held, s in ((4, 0.06), (9, 0.11))
    )
    speed = written(tmp_path, [STEP, few, many]).work.planner
    assert speed.alone_s == pytest.approx(0.03, rel=0.02) and speed.beside_s == pytest.approx(0.01, rel=0.02)


def test_artifacts_that_do_not_divide_by_the_traces_are_the_baselines(tmp_path):
    run = written(tmp_path, [STEP | {"rates/verifier_runs_per_s": 5.5, "pools/verifier/idle": 0.45}] * 3)
    # 4 traces have 11 artifacts: 2 each, and 3 without a trace.
    assert (run.work.samples, run.work.baseline) == (2, 3)
    assert run.work.artifacts.mean == pytest.approx(100 / 5.5) and run.work.verify_s.mean == pytest.approx(0.1)


def test_latencies_are_measured_too(tmp_path):
    late = {"pools/verifier/idle": 0.5, "pools/verifier/call_p50_s": 0.1, "pools/verifier/call_p95_s": 0.2}
    work = written(tmp_path, [STEP, STEP | late, STEP | late | {"time/broadcast": 1 / 8}]).work
    assert work.verify_s.mean == pytest.approx(0.5 / 4) and work.verify_s.spread == pytest.approx(0.42, abs=0.01)
    assert work.score_s.spread == 0
    assert work.broadcast_s.measured == pytest.approx((0.5, 1.0))


def test_a_part_of_a_run_is_measured_by_itself(tmp_path):
    written(tmp_path, [STEP, STEP, STEP, *[STEP | {"time/step_s": 16.0}] * 2])
    assert [measured(str(tmp_path), part).step_s for part in (slice(1, 3), slice(3, None))] == [8.0, 16.0]


def test_a_step_that_evaluates_is_left_out(tmp_path):
    run = written(tmp_path, [STEP, STEP, STEP | {"time/step_s": 30.0, "time/evaluate": 0.7}, STEP])
    assert (run.step_s, run.steps) == (8.0, 4)


def test_two_steps_say_too_little(tmp_path):
    with pytest.raises(DataError, match="3 are the fewest"):
        written(tmp_path, [STEP, STEP])
