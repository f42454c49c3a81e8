"""What the evaluation command refuses, before anything is started."""

import json
from pathlib import Path

import pytest

from launch.conf_files import CONFIG_DIR
from launch.evaluate import main
from tests.commands import run_command

PLANNER = CONFIG_DIR.parent / "tracelift_ray" / "demo" / "checkpoints" / "planner"


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
    done = run_command(main, "experiment=quickstart", *overrides)
    assert done.code == 2 and message in done.stderr
    assert done.stderr.count("\n") == 1


def test_problems_in_words_that_the_planner_does_not_know_are_refused(tmp_path: Path) -> None:
    question = "Natalia sold clips to 48 of her friends in April. How many clips did Natalia sell altogether?"
    (tmp_path / "gsm8k.jsonl").write_text(json.dumps({"question": question, "answer": "She did.\n#### 48"}) + "\n")
    done = run_command(main, "experiment=quickstart", f"checkpoint={PLANNER}", f"benchmarks=[{tmp_path}/gsm8k.jsonl]")
    assert done.code == 2 and done.stderr.count("\n") == 1
    assert "of the tokens of its prompts are unknown to the planner's tokenizer" in done.stderr
    models = (f"checkpoint={PLANNER}", f"executor.model={PLANNER.parent}/executor", "reward=exec_only")
    how = ("planner.prompt=demo", "executor.prompt=demo", "traces=sampled", "evaluation.num_samples=8", "pass_at=[1,8]")
    same = run_command(main, "experiment=quickstart", *models, *how, f"benchmarks=[{tmp_path}/gsm8k.jsonl]", "limit=50")
    assert (same.code, same.stderr) == (2, done.stderr)


def test_a_file_of_problems_is_enough_and_one_without_is_refused(tmp_path: Path) -> None:
    (tmp_path / "odd.jsonl").write_text('{"prompt": "?"}\n')
    arguments = ("experiment=quickstart", "data=jsonl", f"checkpoint={PLANNER}", f"benchmarks=[{tmp_path}/odd.jsonl]")
    done = run_command(main, *arguments)
    assert done.code == 2 and "no known problem format has the keys prompt" in done.stderr
