"""The Ray session of a run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest
import ray

from actors.runtime import connecting
from tests.configs import run_config
from tests.hang import HANG_S

SESSION = """
import sys
import time
from actors.runtime import connected
from launch.entry import guard
from tests.configs import run_config


def start():
    with connected(run_config().cluster, 1.0):
        print("up", flush=True)
        time.sleep(600)


sys.exit(guard(start))
"""


def test_a_ray_that_cannot_start_here_is_one_clear_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SESSION],
        env={**os.environ, "RAY_TMPDIR": "/proc/nowhere"},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: cluster: Ray could not be started here (")
    assert "Traceback" not in done.stderr


def test_sigterm_under_a_ray_that_is_up_ends_it_in_order() -> None:
    command = subprocess.Popen(
        [sys.executable, "-c", SESSION], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert command.stdout is not None
    with command:
        began = command.stdout.readline()
        command.send_signal(signal.SIGTERM)
        _, stderr = command.communicate(timeout=HANG_S)
    assert (began, command.returncode, stderr) == ("up\n", 130, "interrupted\n")


def test_the_thread_that_started_a_ray_outlives_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's processes end with it, and a session without them takes a quarter of a minute to end."""
    alive = []
    shutdown = ray.shutdown

    def recording() -> None:
        alive.append(any(thread.name.startswith("ray-start") for thread in threading.enumerate()))
        shutdown()

    with connecting(run_config().cluster, 1.0) as connect:
        connect()
        monkeypatch.setattr(ray, "shutdown", recording)
    assert alive == [True]


def test_a_ray_starts_beside_checks_and_ends_where_they_fail() -> None:
    with pytest.raises(ValueError, match="no problem is left"), connecting(run_config().cluster, 1.0):
        raise ValueError("no problem is left")
    assert not ray.is_initialized()
    with connecting(run_config().cluster, 1.0) as connect:
        connect()
        assert ray.is_initialized() and ray.get(ray.remote(lambda: 7).remote()) == 7
    assert not ray.is_initialized()
