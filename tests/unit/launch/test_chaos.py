"""What the chaos command draws, and that it finds and ends the processes of its own run alone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import psutil

from launch import chaos
from launch.chaos import KINDS, SIGNALS, ChaosConfig, Training, draw, main
from tests.commands import run_command
from tests.hang import HANG_S

SLEEP = [sys.executable, "-c", "import time; time.sleep(1000)", "ray::LearnerActor.update"]
COMMAND = ChaosConfig(0, 12, 60, "runs/none", tuple(KINDS), tuple(SIGNALS), 1.0, ())  # type: ignore[arg-type]


def test_a_seed_draws_every_kind_and_signal_before_one_comes_again() -> None:
    drawn = draw(COMMAND)
    assert drawn == draw(COMMAND) != draw(replace(COMMAND, seed=1))
    assert {(strike.kind, strike.by) for strike in drawn} == {(kind, by) for kind in KINDS for by in SIGNALS}
    assert [strike.phase for strike in drawn[1:]].count("start") == 0
    assert any(draw(replace(COMMAND, seed=seed))[0].phase == "start" for seed in range(9))


def test_a_run_directory_that_is_there_is_refused(tmp_path: Path) -> None:
    done = partial(run_command, main)(f"run_dir={tmp_path}", "kinds=[engine]", "signals=[stop]")
    assert done.code == 1 and f"run_dir={tmp_path} is there already" in done.stderr


def test_only_its_own_processes_are_found_and_ended(tmp_path: Path) -> None:
    popen = subprocess.Popen
    with patch.object(chaos.subprocess, "Popen", lambda line, **options: popen(SLEEP, **options)):
        training = Training(replace(COMMAND, run_dir=str(tmp_path / "run")))
    other = popen(SLEEP)
    try:
        found = training.find("learner")
        assert found == training.driver.pid
        assert [pid for pid, _ in training.processes()] == [found]
        with patch.object(chaos, "END_S", 0.0):
            assert len(training.close()) == 1
        assert training.driver.wait(HANG_S) == -9
        assert psutil.Process(other.pid).is_running() and other.poll() is None
    finally:
        other.kill()
        other.wait(HANG_S)
