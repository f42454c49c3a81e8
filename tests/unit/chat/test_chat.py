"""Talking to a planner: lines become problems, the trace streams, and the answers are those of the system."""

from __future__ import annotations

import json
import re
import shutil
import sys
from functools import partial
from pathlib import Path

import pytest

from launch.chat import main
from launch.conf_files import CONFIG_DIR
from tests.commands import run_command
from tests.configs import run_config
from tracelift_ray.chat.lines import has_reference, read_problem
from tracelift_ray.chat.session import opened, scorer_at_hand
from tracelift_ray.config.load import plain_config
from tracelift_ray.errors import DataError
from tracelift_ray.tracking.run_dir import RunDirectory

PLANNER = Path(run_config().planner.model)
MATH = "zoe has 5 cards . then doubles that . then sam gives 3 back . how many cards now ?"
CODE = "read n , try 5 . then subtract 1 . print it ."


def piped(monkeypatch: pytest.MonkeyPatch, folder: Path, text: bytes) -> None:
    """Let the command read ``text``."""
    (folder / "piped").write_bytes(text)
    monkeypatch.setattr(sys, "stdin", (folder / "piped").open("r", encoding="utf-8"))


def test_a_line_is_a_problem_with_or_without_a_reference() -> None:
    bare = read_problem(MATH, "math", 1)
    assert (bare.id, bare.task, bare.statement, has_reference(bare)) == ("chat-1", "math", MATH, False)
    assert read_problem(f"{MATH} ||| 13 ", "math", 2).answer == "13"
    assert read_problem(f"{MATH} ||| ", "math", 2).answer is None


@pytest.mark.parametrize("text", [r"Find all $x \neq 3$", "{1,2,3} has how many subsets?"])
def test_a_problem_is_asked_as_it_was_typed(text: str) -> None:
    problem = read_problem(rf"{text} ||| \nu", "math", 1)
    assert (problem.statement, problem.answer) == (text, r"\nu")


def test_the_reference_of_a_program_is_input_and_output_or_tests() -> None:
    one = read_problem(f"{CODE} ||| 5 => 4", "code", 1).tests
    assert one is not None and (one.inputs, one.outputs) == (("5\n",), ("4\n",))
    lines = read_problem(rf"{CODE} ||| 5\n6 => 4\n5", "code", 1).tests
    assert lines is not None and (lines.inputs, lines.outputs) == (("5\n6\n",), ("4\n5\n",))
    two = read_problem(CODE + ' ||| {"asserts": ["assert f(1) == 2"]}', "code", 1).tests
    assert two is not None and two.asserts == ("assert f(1) == 2",)


def test_a_record_names_its_own_task() -> None:
    record = {"task": "code", "statement": CODE, "tests": {"inputs": ["5\n"], "outputs": ["4\n"]}}
    problem = read_problem(json.dumps(record), "math", 3)
    assert (problem.id, problem.task) == ("chat-3", "code") and has_reference(problem)
    assert not has_reference(read_problem(json.dumps({"task": "math", "statement": "x"}), "code", 1))


@pytest.mark.parametrize(
    ("line", "task", "says"),
    [
        ('{"', "math", "the line is no JSON"),
        ('{"task": "maths", "statement": "x"}', "math", "this is no problem: task must be"),
        ("||| 5", "math", "this is no problem: statement must not be empty$"),
        (f"{CODE} ||| 4", "code", "INPUT => OUTPUT"),
        (f'{CODE} ||| {{"', "code", "the reference is no JSON"),
    ],
)
def test_a_line_that_is_no_problem_is_one_line(line: str, task: str, says: str) -> None:
    with pytest.raises(DataError, match=says) as refused:
        read_problem(line, task, 1)
    assert "\n" not in str(refused.value)


async def test_what_streams_is_the_trace_and_the_answers_are_checked() -> None:
    pieces: list[str] = []
    async with opened(run_config("planner.engine.kind=vllm"), 4, greedy=True, say=lambda line: None) as session:
        problem = read_problem(f"{MATH} ||| 13", "math", 1)
        trace = await session.trace(problem, pieces.append)
        assert len(pieces) > 5 and "".join(pieces).startswith(trace.completion.text.rstrip())
        assert (await session.trace(problem, pieces.append)).completion.text == trace.completion.text
        answers = await session.execute(problem, "5 * 2 = 10 ; 10 + 3 = 13")
        assert len(answers.artifacts) == len(answers.verdicts) == 4 and answers.success is not None
        unknown = await session.execute(read_problem(MATH, "math", 2), None)
        assert (len(unknown.artifacts), unknown.success) == (4, None)
        rubric = await session.rubric(problem, "5 * 2 = 10 ; 10 + 3 = 13")
        assert rubric is not None and 0 <= rubric.score <= 1
        assert session.leaks(problem, "the answer is 13") and not session.leaks(problem, "5 * 2 = 10")


def test_a_reasoning_rm_that_is_not_here_is_left_out() -> None:
    config = run_config().reasoning_rm
    assert scorer_at_hand(config) is not None
    assert scorer_at_hand(run_config("reward=exec_only", "reasoning_rm.model=''").reasoning_rm) is None


def test_the_command_answers_lines_of_a_pipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    piped(monkeypatch, tmp_path, f"{MATH} ||| 13\n\n".encode() + b'{"\ncaf\xe9 ?\n' + f"{CODE}\n".encode())
    models = (f"checkpoint={PLANNER}", f"executor.model={run_config().executor.model}")
    run = partial(run_command, main, *models, "experiment=quickstart", "greedy=true", "answers=2")
    done = run()
    assert done.code == 2, "one line was no problem"
    first, second = done.stdout.strip().split("\n\n")
    assert first.startswith(f"problem  {MATH}\ntrace    ")
    assert "\nwith     " in first and "\nwithout  " in first and "\nuplift   " in first and "\nrubric   score " in first
    assert second.startswith(f"problem  {CODE}\ntrace    ") and "uplift" not in second
    assert "loading the executor" in done.stderr and "error: the line is no JSON" in done.stderr
    assert "error: this is no problem: statement holds a lone surrogate, which is no text\n" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["piped"]


def test_a_planner_that_was_passed_on_is_asked_with_the_prompts_beside_its_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shared = shutil.copytree(PLANNER, tmp_path / "shared")
    shutil.copyfile(CONFIG_DIR / "prompts" / "demo.yaml", shared / "prompt.yaml")
    piped(monkeypatch, tmp_path, f"{MATH} ||| 13\n".encode())
    models = (f"checkpoint={shared}", f"executor.model={run_config().executor.model}")
    done = run_command(main, *models, "greedy=true", "answers=2", "planner.sampling.max_new_tokens=40")
    assert done.code == 0 and "\nwith     " in done.stdout, done.stdout


def test_a_checkpoint_of_the_demo_is_all_that_the_command_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    run = RunDirectory.create("runs/quickstart")
    run.keep_prompts(dict.fromkeys(("planner", "executor"), (CONFIG_DIR / "prompts" / "demo.yaml").read_text("utf-8")))
    run.record_start(plain_config(run_config(f"run_dir={run.path}")), None)
    checkpoint = "runs/quickstart/checkpoints/step-000040"
    shutil.copytree(PLANNER, Path(checkpoint) / "planner")
    piped(monkeypatch, tmp_path, f"{MATH} ||| 13\n".encode())
    before = sorted(tmp_path.rglob("*"))
    done = run_command(main, f"checkpoint={checkpoint}")
    assert done.code == 0 and done.stdout.startswith(f"\nproblem  {MATH}\ntrace    "), done.stderr
    without = "without  " + done.stdout.partition("\nwithout  ")[2]
    assert sum(map(int, re.findall(r"^(?:without| {7})  (\d) x  ", without, re.MULTILINE))) == 3, "the run's executor"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "checkpoint: is needed"),
        (("checkpoint=nowhere",), "is no directory"),
        ((f"checkpoint={PLANNER}", "task=maths"), "task=maths: must be"),
        ((f"checkpoint={PLANNER}",), "executor.model"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_loaded(arguments: tuple[str, ...], says: str) -> None:
    done = run_command(main, *arguments)
    assert done.code == 2 and says in done.stderr and done.stderr.count("\n") == 1
