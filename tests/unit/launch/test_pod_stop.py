"""The end of a pod: its part of a run is asked to end once, and the pod waits for that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from launch.pod_stop import end_run
from tests.hang import HANG_S

#: A run that saves for a second when it is asked to end, and which a second signal would end at once.
RUN = """import signal, sys, time
def save(*_):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    print("saving", flush=True)
    time.sleep(1)
    print("saved", flush=True)
    sys.exit(130)
signal.signal(signal.SIGTERM, save)
print("up", flush=True)
time.sleep(1000)"""
ACTOR = "import time; time.sleep(0.5)"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for each in processes:
        each.kill()
        each.communicate()


def start(script: str, *words: str, name: str = sys.executable) -> subprocess.Popen[str]:
    command = [name, "-c", script, *words]
    return subprocess.Popen(command, executable=sys.executable, stdout=subprocess.PIPE, text=True)


def told(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("asked_before", [False, True])
def test_a_run_is_asked_once_and_has_saved_when_the_pod_ends(
    started: list[subprocess.Popen[str]], asked_before: bool
) -> None:
    run, other = start(RUN, "launch.train", "name=x"), start(RUN, "launch.trainer")
    started += [run, other]
    assert told(run) == told(other) == "up"
    if asked_before:  # as by KubeRay, when the job is deleted
        os.kill(run.pid, signal.SIGTERM)
        assert told(run) == "saving"
    end_run(lambda: [psutil.Process(each.pid) for each in started], every_s=0.02)
    assert run.communicate(timeout=HANG_S)[0].endswith("saved\n") and run.returncode == 130
    assert other.poll() is None


def test_a_pod_waits_for_actors_and_not_for_rays_own_processes(started: list[subprocess.Popen[str]]) -> None:
    started += [start(ACTOR, name="ray::LearnerActor.step"), start(RUN, name="ray::IDLE")]
    assert told(started[1]) == "up"
    ends = time.monotonic() + HANG_S
    while not psutil.Process(started[0].pid).cmdline()[0].startswith("ray::") and time.monotonic() < ends:
        time.sleep(0.01)
    end_run(lambda: [psutil.Process(each.pid) for each in started], every_s=0.02)
    assert started[0].wait(HANG_S) == 0, "it ended by itself"
    assert started[1].poll() is None


def test_outside_a_pod_nothing_is_ended() -> None:
    command = [sys.executable, "-m", "launch.pod_stop"]
    environment = {name: value for name, value in os.environ.items() if name != "KUBERNETES_SERVICE_HOST"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "") and "pods of Kubernetes alone" in done.stderr
