"""The Ray session of a run."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.hang import HANG_S


def test_a_ray_that_cannot_start_here_is_one_clear_line(tmp_path):
    arguments = [
        "experiment=quickstart",
        "name=no_ray",
        "tracking.wandb=disabled",
        "data.limit=10",
        "resume=never",
        f"runs_root={tmp_path}",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "launch.train", *arguments],
        env={**os.environ, "RAY_TMPDIR": "/proc/nowhere"},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: cluster: Ray could not be started here (")
    assert "Traceback" not in done.stderr
