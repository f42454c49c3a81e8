"""What the evaluation command refuses, before anything is started."""

import subprocess
import sys
from pathlib import Path

import pytest

from launch.composition import CONFIG_DIR
from tests.hang import HANG_S

ROOT = CONFIG_DIR.parent
PLANNER = ROOT / "tracelift_ray" / "demo" / "checkpoints" / "planner"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((), "checkpoint: is needed: a checkpoint of a run, or a Hugging Face directory"),
        (("checkpoint=/no/such",), "checkpoint=/no/such: is no directory"),
        ((f"checkpoint={PLANNER}", "benchmarks=[/no/such.jsonl]"), "benchmarks=/no/such.jsonl: is no file"),
        ((f"checkpoint={PLANNER}", "pass_at=[1,9]"), "pass_at=9: must be at most evaluation.num_samples=3"),
    ],
)
def test_wrong_values_get_one_line(overrides: tuple[str, ...], message: str) -> None:
    command = [sys.executable, "-m", "launch.evaluate", "experiment=quickstart", *overrides]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 2 and message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_of_problems_is_enough_and_one_without_is_refused(tmp_path: Path) -> None:
    (tmp_path / "odd.jsonl").write_text('{"prompt": "?"}\n')
    command = [sys.executable, "-m", "launch.evaluate", "experiment=quickstart", "data=jsonl", f"checkpoint={PLANNER}"]
    done = subprocess.run(
        [*command, f"benchmarks=[{tmp_path}/odd.jsonl]"], cwd=ROOT, capture_output=True, text=True, timeout=HANG_S
    )
    assert done.returncode == 2 and "no known problem format has the keys prompt" in done.stderr
