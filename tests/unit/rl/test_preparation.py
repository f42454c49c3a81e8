"""Prompts are rendered, and what they lack is said, before anything starts."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.configs import run_config
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.load import plain_config
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.data.sampler import ProblemSampler
from tracelift_ray.errors import DataError
from tracelift_ray.rl.preparation import prepare, prompt_lines
from tracelift_ray.tasks.presets import prompt_path
from tracelift_ray.training import checkpoint


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
    (tmp_path / "mine.yaml").write_text(f"{demo}# mine\n")
    prepared = prepare(run)
    prepared.accept(prepared.train)
    kept = {role: (tmp_path / "run" / "prompts" / f"{role}.yaml").read_text() for role in ("planner", "executor")}
    assert kept["planner"] == demo and kept["executor"] == (tmp_path / "mine.yaml").read_text()


@pytest.mark.parametrize("begin", [prompt_lines, prepare], ids=["a dry run", "a run"])
def test_problems_in_words_that_the_planner_does_not_know_are_refused(
    tmp_path: Path, begin: Callable[[RunConfig], object]
) -> None:
    question = "Natalia sold clips to 48 of her friends in April. How many clips did Natalia sell altogether?"
    (tmp_path / "gsm8k.jsonl").write_text(json.dumps({"question": question, "answer": "She did.\n#### 48"}) + "\n")
    run = run_config(f"run_dir={tmp_path}/run", f"data.train=[{tmp_path}/gsm8k.jsonl]", "evaluation.problems=0")
    with pytest.raises(DataError, match=r"^data.train: .* are unknown to the planner's tokenizer"):
        begin(run)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_start_that_is_refused_changes_nothing_in_the_run_directory(tmp_path: Path) -> None:
    run = run_config(f"run_dir={tmp_path}", "data.limit=4")
    first = prepare(run)
    first.accept(first.train)
    first.directory.record_start(plain_config(run), None)
    sampler = ProblemSampler(first.train, run.seed)
    checkpoint.publish(checkpoint.begin(first.directory.checkpoints_path, 1), {"stream": {"sampler": sampler.state()}})
    before = files(tmp_path)

    with pytest.raises(ConfigError, match=r"^algorithm.group_size=4: "):
        prepare(replace(run, algorithm=replace(run.algorithm, group_size=4)))
    again = prepare(run)
    with pytest.raises(DataError, match="other ids"):
        again.accept(again.train[1:])
    mine = tmp_path / "mine.yaml"
    mine.write_text(prompt_path("demo").read_text().replace("  code: *demo\n", ""))
    with pytest.raises(DataError, match="no executor prompt"):
        prepare(replace(run, resume="never", executor=replace(run.executor, prompt=str(mine))))
    mine.unlink()
    assert files(tmp_path) == before

    never = prepare(replace(run, resume="never"))
    never.accept(never.train[1:])
    assert (tmp_path / "checkpoints.1" / "step-000001").is_dir() and not (tmp_path / "checkpoints").exists()
