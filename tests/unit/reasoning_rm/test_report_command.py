"""The command that reports on a reward model, on the demo's."""

import json
from pathlib import Path

from launch.rm_report import main
from tests.commands import run_command
from tests.configs import run_config
from tests.unit.reasoning_rm.test_report import record
from tracelift_ray.data.rubric_records import write_rubric_records
from tracelift_ray.demo.source import demo_groups


def test_the_demos_reward_model_is_reported_on_groups_that_it_has_not_seen(tmp_path: Path) -> None:
    groups = tmp_path / "groups.jsonl"
    write_rubric_records(groups, demo_groups("math", 6, 0, "heldout"))
    model = run_config().reasoning_rm.model
    done = run_command(main, f"model={model}", f"groups={groups}", f"out={tmp_path}/report", "max_length=256")
    assert done.code == 0, done.stderr
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"report.md", "report.json", "report.png"}
    assert f"report.md, report.json and report.png are in {tmp_path}/report" in done.stdout
    missing = run_command(main, f"model={model}", f"groups={tmp_path}/none.jsonl")
    assert (missing.code, missing.stderr.count("\n")) == (2, 1) and "none.jsonl" in missing.stderr


def test_a_run_is_judged_by_another_reward_model(tmp_path: Path) -> None:
    (tmp_path / "trajectories.jsonl").write_text(json.dumps(record(1, 0.7)) + "\n")
    model = run_config().reasoning_rm.model
    judge = ("reasoning_rm@judge=model", f"judge.model={model}")
    done = run_command(main, f"model={model}", f"run={tmp_path}", *judge, f"out={tmp_path}/report")
    assert done.code == 0, done.stderr
    (window,) = json.loads((tmp_path / "report" / "report.json").read_text())["drift"]["windows"]
    assert window["score"]["value"] == 0.7 and 0 < window["judge"]["value"] < 1
