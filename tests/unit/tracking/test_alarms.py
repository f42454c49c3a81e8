"""What is said of recent steps, with what to do, and what is not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.tracking.test_tracker import CONFIG
from tracelift_ray.tracking.alarms import ROW, WINDOW, alarms
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
    "flat reward": (lambda step: {"reward/mean": 0.3 + 0.001 * (step % 2)}, r"stays at \+0\.300 over 20 steps"),
    "leaks": (lambda step: {"system/leak": 0.01 * step}, r"from 6% to 16%; reward\.leak=mask"),
    "rubric alone": (lambda step: {"rubric/score": 0.03 * step, "system/success": 0.4}, r"score rose .* may be gamed"),
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
