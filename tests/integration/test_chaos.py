"""The chaos command in a short form: processes of a whole run are killed and stopped, and its account holds."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.hang import HANG_S
from tests.integration.training_runs import ROOT, command


def test_a_run_whose_processes_are_struck_ends_with_nothing_lost_twice_or_unscored(tmp_path: Path) -> None:
    struck = ("kinds=[executor,scorer]", "faults=2", "steps=20", "seed=5")
    done = subprocess.run(
        command("chaos", *struck, f"run_dir={tmp_path / 'run'}", f"patience_s={HANG_S}"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=3 * HANG_S,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    # A stopped member is named only where a call waits for it; the run goes on with the other one in any case.
    rows = re.findall(r"^\| \w+ \| (executor|scorer) \| (kill|stop) \| \d+ \| [-\d.]+ \| [\d.]+ \|", done.stdout, re.M)
    assert len(rows) == 2 and {by for _, by in rows} == {"kill", "stop"}
    assert "0 lost, 0 duplicated, 0 unscored" in done.stdout and "left, and ended" not in done.stdout
