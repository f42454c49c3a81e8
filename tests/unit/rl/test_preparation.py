"""Prompts are rendered, and what they lack is said, before anything starts."""

from pathlib import Path

import pytest

from tests.configs import run_config
from tracelift_ray.errors import DataError
from tracelift_ray.rl.preparation import prepare, prompt_lines
from tracelift_ray.tasks.presets import prompt_path


def test_a_dry_run_shows_a_prompt_of_planner_and_executor() -> None:
    lines = prompt_lines(run_config())
    assert [line.split(",")[0] for line in lines if not line.startswith(" ")] == ["planner", "executor"]
    planner, executor = (line for line in lines if line.startswith("  | "))
    assert planner.startswith("  | <math> ") and planner.endswith(" <reasoning>")
    assert executor.endswith(" <reasoning> (the trace) </reasoning> <answer>")


def test_a_run_keeps_its_prompt_files_and_refuses_data_without_a_prompt(tmp_path: Path) -> None:
    demo = prompt_path("demo").read_text()
    (tmp_path / "mine.yaml").write_text(demo.replace("  code: *demo\n", ""))
    run = run_config(f"run_dir={tmp_path}/run", f"executor.prompt={tmp_path}/mine.yaml", "data.limit=4")
    with pytest.raises(DataError, match=r"mine.yaml: task code has no executor prompt; add tasks.code.executor with "):
        prepare(run)
    kept = {role: (tmp_path / "run" / "prompts" / f"{role}.yaml").read_text() for role in ("planner", "executor")}
    assert kept["planner"] == demo and kept["executor"] == (tmp_path / "mine.yaml").read_text()
