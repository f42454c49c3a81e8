"""A program that waited for others is told from one that was slow, and from one that kept itself waiting."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tracelift_ray.verification.sandbox.starvation import ThreadTimes, host_pid, starved, was_starved


def test_waiting_for_others_is_starvation_and_being_slow_is_not() -> None:
    assert starved([ThreadTimes(ran_s=0.2, waited_s=5.5)], used_s=0.2, elapsed_s=6.0)
    assert starved([ThreadTimes(ran_s=1.9, waited_s=4.0)], used_s=1.9, elapsed_s=6.0)
    assert not starved([ThreadTimes(ran_s=0.0, waited_s=0.1)], used_s=0.0, elapsed_s=6.0)
    assert not starved([ThreadTimes(ran_s=1.9, waited_s=2.0)], used_s=1.9, elapsed_s=6.0)
    assert not starved([], used_s=0.0, elapsed_s=6.0)


def test_waiting_for_threads_of_its_own_is_not_starvation() -> None:
    threads = [ThreadTimes(ran_s=0.5, waited_s=5.5)] + [ThreadTimes(ran_s=0.5, waited_s=5.4)] * 11
    assert not starved(threads, used_s=6.0, elapsed_s=6.0)
    ended_threads_used_it = [ThreadTimes(ran_s=0.1, waited_s=5.8)]
    assert not starved(ended_threads_used_it, used_s=5.9, elapsed_s=6.0)


def test_a_process_that_sleeps_was_not_starved_and_one_that_is_gone_is_not_known() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        time.sleep(0.3)
        watched = os.pidfd_open(child.pid)
        assert host_pid(watched) == child.pid
        assert not was_starved([watched], elapsed_s=1000.0)
        gone = os.pidfd_open(child.pid)
    finally:
        child.kill()
        child.wait()
    assert host_pid(gone) is None
    assert was_starved([gone], elapsed_s=1000.0)
