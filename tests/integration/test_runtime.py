"""The Ray session of a run."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.hang import HANG_S

SESSION = """
import sys
from actors.runtime import connected
from launch.entry import guard
from tests.configs import run_config


def start():
    with connected(run_config().cluster, 1.0):
        raise AssertionError("Ray came up")


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
