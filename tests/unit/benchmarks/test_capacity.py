"""Forecasts against measurements: what is marked as missed, a fit, the halves of a run, and the table of speeds."""

import json

import pytest
import yaml

from benchmarks import capacity
from benchmarks.capacity import BESIDE, RUN, RUN_BOUND, Row, fitted_speed, simulated, table, workload
from benchmarks.capacity_speed import SIZE, STEPS, Speed, speeds
from tests.unit.simulation.test_measured import SETTINGS, STEP
from tracelift_ray.simulation import engines
from tracelift_ray.simulation.workload import Lengths


def test_a_run_is_held_to_a_closer_bound_than_a_published_table():
    published, run = Row("a", 37.17, 31.54), Row("a", 37.17, 31.54, RUN_BOUND)
    assert str(published) == "| a | 37.17 | 31.54 | -15.1% |" and published.kept
    assert str(run) == "| a | 37.17 | 31.54 | -15.1% missed |" and not run.kept


def test_a_table_counts_what_was_kept():
    assert table([Row("a", 10.0, 11.9), Row("b", 10.0, 12.1)]).splitlines()[-1] == "1 of 2 within 20%."


def test_a_fit_finds_the_speed_that_made_the_times():
    lengths, speed = Lengths(100, 0.5, 400), engines.Speed(0.02, 0.02 * BESIDE[2], 64)
    times = [
        (n, simulated(workload(lengths, speed, 1e-12, 0.0, 0.0), n, 1, 8, 4, 0, 2).step_s) for n in (1, 2, 4)
    ]  # fmt: skip
    found = fitted_speed(times, lengths, 8, 4, 64)
    assert (found.alone_s, found.beside_s) == (pytest.approx(speed.alone_s), pytest.approx(speed.beside_s))


def test_the_second_half_of_a_run_is_forecast_by_the_first(tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(SETTINGS))
    slower = STEP | {"time/step_s": 16.0, "rates/planner_prompts_per_s": 1.0, "rates/planner_tokens_per_s": 100.0}
    records = [{"step": step, "kind": "training"} | (STEP if step < 4 else slower) for step in range(1, 7)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    half = capacity.compared([str(tmp_path)]).splitlines()[2]
    # Steps of 8 s forecast those of 16 s.
    assert half.startswith(f"| `{tmp_path.name}`, steps 4 to 6 by those before | 16 | 8 | -50.0% missed |")


def test_a_speed_below_the_goal_is_missed():
    assert "| 999 | missed |" in str(Speed(10_000, 64, 1, 999.0, 1.0))
    assert "| 1,000 | kept |" in str(Speed(10_000, 64, 1, 2_000.0, 2.0))
    assert Speed(8, 10, 0, 1.0, STEPS * 10 * (3 * SIZE + 1) * 1e-6).request_us == pytest.approx(1.0)


def test_speeds_are_measured_on_policy_and_one_step_off():
    found = speeds(RUN, [(16, 2)])
    assert [(each.workers, each.groups, each.staleness) for each in found] == [(16, 2, 0), (16, 2, 1)]
    assert all(each.simulated_s > 0 and each.core_s > 0 for each in found)
