"""A program that waits for others gets longer; one that is slow, or keeps itself waiting, does not."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time

import pytest

from tracelift_ray.verification.sandbox import starvation
from tracelift_ray.verification.sandbox.starvation import (
    Extension,
    ThreadTimes,
    WallClock,
    host_pid,
    kept_waiting,
    waited_for_others,
)


def test_waiting_for_others_counts() -> None:
    assert waited_for_others([ThreadTimes(ran_s=0.2, waited_s=5.5)], used_s=0.2) == 5.5
    assert waited_for_others([ThreadTimes(0.1, 0.2), ThreadTimes(0.1, 3.0)], used_s=0.2) == pytest.approx(2.9)
    assert waited_for_others([], used_s=0.0) == 0.0


def test_waiting_for_threads_of_its_own_does_not_count() -> None:
    threads = [ThreadTimes(ran_s=0.5, waited_s=5.5)] + [ThreadTimes(ran_s=0.5, waited_s=5.4)] * 11
    assert waited_for_others(threads, used_s=6.0) <= 0.0
    ended_threads_used_it = [ThreadTimes(ran_s=0.1, waited_s=5.8)]
    assert waited_for_others(ended_threads_used_it, used_s=5.9) <= 0.0


def test_a_program_gets_the_time_back_that_others_took_once() -> None:
    clock = WallClock(wall_s=10.0)
    assert clock.extension(kept_s=4.0) == Extension(seconds=4.0)
    assert clock.extension(kept_s=4.1) == Extension()
    assert clock.extension(kept_s=6.0) == Extension(seconds=2.0)
    assert WallClock(10.0).extension(kept_s=0.1) == Extension()
    assert WallClock(10.0).extension(kept_s=-3.0) == Extension()


def test_a_limit_is_extended_only_so_far_and_the_program_is_then_starved(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    clock = WallClock(wall_s=10.0)
    now += 10.0 * starvation.MOST_TIMES_WALL + 1
    assert clock.extension(kept_s=40.0) == Extension(starved=True)
    assert clock.extension(kept_s=0.0) == Extension()
    clock.next_test()
    assert clock.extension(kept_s=40.0) == Extension(seconds=40.0)
    assert WallClock(10.0).extension(math.inf) == Extension(starved=True)


def test_a_process_that_sleeps_was_not_kept_and_of_one_that_is_gone_nothing_is_known() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        time.sleep(0.3)
        watched = os.pidfd_open(child.pid)
        assert host_pid(watched) == child.pid
        assert kept_waiting([watched]) < 60.0
        gone = os.pidfd_open(child.pid)
    finally:
        child.kill()
        child.wait()
    assert host_pid(gone) is None
    assert kept_waiting([gone]) == math.inf
