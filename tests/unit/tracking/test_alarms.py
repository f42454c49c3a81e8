"""What is said of recent steps, with what to do, and what is not."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.tracking.test_tracker import CONFIG
from tracelift_ray.tracking.alarms import LONG_WINDOW, ROW, WINDOW, alarms
from tracelift_ray.tracking.run_dir import RunDirectory
from tracelift_ray.tracking.tracker import Tracker

At = Callable[[int], dict[str, float]]


def healthy(step: int) -> dict[str, float]:
    """A step of a run that learns, with some noise."""
    noise = 0.05 * (-1) ** step
    return {
        "reward/signal": 0.7,
        "reward/mean": 0.3 + 0.01 * step + noise,
        "reward/std": 0.3,
        "system/leak": 0.02,
        "system/success": 0.4 + 0.01 * step + noise,
        "system/malformed": 0.1,
        "rubric/score": 0.4 + 0.01 * step,
        "learner/mismatch_mean": 0.001,
        "pools/planner/idle": 0.3,
        "pools/planner/queued_mean": 0.0,
        "pools/verifier/idle": 0.1,
        "pools/verifier/queued_mean": 3.0,
    }


CASES: dict[str, tuple[At, str]] = {
    "no signal": (lambda step: {"reward/signal": 0.05}, r"equal in 95% of the groups of the last 5 steps; easier or"),
    "no signal, malformed": (lambda step: {"reward/signal": 0.0, "system/malformed": 0.9}, "a warm start teaches"),
    "leaks": (lambda step: {"system/leak": 0.01 * step}, r"from 6% to 16%; reward\.leak=mask"),
    "rubric alone": (
        lambda step: {"rubric/score": 0.03 * step, "system/success": 0.4 + 0.001 * step},
        r"score rose .* may be gamed",
    ),
    "mismatch": (
        lambda step: {"learner/mismatch_mean": 0.05 if step > 15 else 0.004},
        r"by 0\.050 nats .* 0\.004 before",
    ),
    "planner starves": (
        lambda step: {"pools/planner/idle": 0.8},
        r"the planner pool has nothing to do 80% of the time while 3\.0 calls on average wait for the verifier pool",
    ),
}


def test_a_run_that_learns_gives_no_reason_to_say_anything() -> None:
    steps = [healthy(step) for step in range(1, 60)]
    assert [alarms(steps[:count]) for count in range(len(steps) + 1)] == [[]] * (len(steps) + 1)


@pytest.mark.parametrize("case", CASES)
def test_what_goes_wrong_is_said_with_what_to_do(case: str) -> None:
    differs, text = CASES[case]
    (found,) = alarms([healthy(step) | differs(step) for step in range(1, WINDOW + 1)])
    assert found.kind == case.partition(",")[0] and re.search(text, found.text), found.text


SPREAD, SEEDS = 0.45, 100


def rewards(seed: int, groups: int, size: int, slope: float, count: int) -> list[dict[str, float]]:
    """Steps whose mean reward has the noise of their traces; half of the variance is between problems."""
    noise, draw = SPREAD * (0.5 / groups + 0.5 / (groups * size)) ** 0.5, random.Random(seed)
    return [
        {"reward/mean": 0.3 + slope * step + draw.gauss(0.0, noise), "reward/std": SPREAD}
        for step in range(1, count + 1)
    ]


def share_said(groups: int, size: int, slope: float, count: int) -> float:
    """Of runs of ``count`` steps, those in which it was ever said that the reward stays."""
    runs = [rewards(seed, groups, size, slope, count) for seed in range(SEEDS)]
    return sum(any(alarms(run[:end]) for end in range(LONG_WINDOW, count + 1)) for run in runs) / SEEDS


@pytest.mark.parametrize(("groups", "size"), [(2, 4), (8, 8), (24, 8)])
def test_a_reward_that_stays_is_said_whatever_the_noise_of_a_batch(groups: int, size: int) -> None:
    assert share_said(groups, size, 0.0, 100) >= 0.95


@pytest.mark.parametrize(("groups", "size", "slope"), [(8, 8, 0.008), (24, 8, 0.008), (24, 8, 0.0045)])
def test_a_reward_that_rises_as_in_the_demo_is_not_said_to_stay(groups: int, size: int, slope: float) -> None:
    assert share_said(groups, size, slope, 60) <= 0.05


def test_a_reward_that_rises_by_next_to_nothing_stays() -> None:
    steps = [healthy(step) | {"reward/mean": 0.3 + 0.0001 * step} for step in range(1, LONG_WINDOW + 1)]
    (found,) = alarms(steps)
    assert found.kind == "flat reward" and re.search(
        r"stays at \+0\.303 over 40 steps; a higher learner.lr", found.text
    )
    assert alarms(steps[1:]) == []


@pytest.mark.parametrize(("gain", "least", "most"), [(0.0, 0.6, 1.0), (0.0135, 0.0, 0.02)])
def test_a_rubric_that_rises_is_said_where_success_does_not_rise_with_it(
    gain: float, least: float, most: float
) -> None:
    draw, said = random.Random(0), 0
    for _ in range(4 * SEEDS):
        steps = range(WINDOW)
        successes = [0.4 + gain * step + draw.gauss(0.0, 0.08) for step in steps]  # noise of 24 groups of 8
        said += bool(
            alarms([{"rubric/score": 0.4 + 0.017 * step, "system/success": successes[step]} for step in steps])
        )
    assert least <= said / (4 * SEEDS) <= most


@pytest.mark.parametrize("case", CASES)
def test_few_steps_are_no_ground_for_it(case: str) -> None:
    differs, _ = CASES[case]
    assert alarms([healthy(step) | differs(step) for step in range(1, ROW)]) == []


def test_steps_without_metrics_are_no_alarm() -> None:
    assert alarms([{}] * WINDOW) == []


def test_the_same_thing_is_said_again_only_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker, said = Tracker(CONFIG, RunDirectory.create(tmp_path / "run"), 99, {"name": "t"}), list[str]()
    monkeypatch.setattr(tracker, "message", said.append)
    for step in range(1, ROW + WINDOW):
        tracker.log_step(step, {"reward/signal": 0.0})
    assert len(said) == 1 and said[0].startswith("look: all rewards are equal in 100% of the groups")
    tracker.log_step(ROW + WINDOW, {"reward/signal": 0.0})
    assert len(said) == 2
    tracker.close()
