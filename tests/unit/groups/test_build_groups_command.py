"""The command that makes groups from a file of worked solutions."""

import json
import subprocess
import sys
from pathlib import Path

from tracelift_ray.data.groups import load_groups

ROOT = Path(__file__).resolve().parents[3]


def build(*overrides):
    return subprocess.run(
        [sys.executable, "-m", "launch.build_groups", *overrides], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_groups_are_made_from_gsm8k(tmp_path):
    worked = "There are 3*12 = <<3*12=36>>36 pens.\nThey bring 36*2 = $<<36*2=72>>72.\n#### 72"
    rows = [
        {"question": "3 boxes of 12 pens at $2 each?", "answer": worked},
        {"question": "One?", "answer": "It is one.\n#### 1"},
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = build(f"source={tmp_path}/in.jsonl", "format=gsm8k", f"output={tmp_path}/out.jsonl")
    assert done.returncode == 0, done.stderr
    assert "1 groups in" in done.stdout and "nothing to spoil 1" in done.stdout
    (group,) = load_groups(tmp_path / "out.jsonl")
    assert group.positives[0].reasoning == "There are 3*12 = 36 pens.\nThey bring 36*2 = $?."
    assert group.problem.answer == "72" and group.source == "gsm8k" and len(group.negatives) >= 4


def test_wrong_values_and_useless_files_get_one_line(tmp_path):
    done = build("source=x", "output=y", "negatives=0")
    assert done.returncode == 2 and "negatives=0: must be at least 1" in done.stderr
    (tmp_path / "in.jsonl").write_text(json.dumps({"question": "One?", "answer": "It is one.\n#### 1"}) + "\n")
    done = build(f"source={tmp_path}/in.jsonl", f"output={tmp_path}/out.jsonl")
    assert done.returncode == 2 and "no problem makes a group (nothing to spoil 1)" in done.stderr
    assert not (tmp_path / "out.jsonl").exists()
