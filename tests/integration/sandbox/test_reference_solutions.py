"""The check of a data set, in a real sandbox: what fails its own tests is left out, once and for all starts."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.mbpp_solutions import VARIANTS, broken, judge_all
from tests.sandboxes import sandbox_config
from tracelift_ray.config.schema import CurriculumConfig, DataConfig
from tracelift_ray.data import solution_check
from tracelift_ray.data.problems import load_problems
from tracelift_ray.data.solution_check import sound_problems
from tracelift_ray.errors import DataError
from tracelift_ray.types import CodeTests, Problem
from tracelift_ray.verification.sandbox.pool import Sandbox

MBPP = os.environ.get("TRACELIFT_MBPP", "")
SQUARE = CodeTests("function", asserts=("assert square(3) == 9", "assert square(-2) == 4"))
PROBLEMS = (
    Problem("right", "code", "square", tests=SQUARE, solution="def square(n):\n    return n * n\n"),
    Problem("wrong", "code", "square", tests=SQUARE, solution="def square(n):\n    return 2 * n + 3\n"),
    Problem("slow", "code", "square", tests=SQUARE, solution="def square(n):\n    while True:\n        pass\n"),
    Problem("broken", "code", "square", tests=SQUARE, solution="def square(n) return n * n\n"),
    Problem(
        "odd tests", "code", "f", tests=CodeTests("function", asserts=("assert f(zip([1], [2]))",)), solution="f = list"
    ),
    Problem("prints", "code", "echo", tests=CodeTests("stdio", ("7\n",), ("7",)), solution="print(input())"),
    Problem("open", "code", "nobody knows", tests=SQUARE),
    Problem("sum", "math", "1 + 1", answer="2", solution="add"),
)
LIMITS = sandbox_config(cpu_s=0.5, wall_s=10.0, slots=2)


def data(directory: Path, mode: str, train: str = "p.jsonl") -> DataConfig:
    cache, curriculum = str(directory / "cache"), CurriculumConfig(False, 1.0, 0.0, 6, 4)
    return DataConfig((train,), (), "auto", {}, (), 0.1, "strict", 3_500, 2_500, 8, 0, mode, cache, curriculum)


def check(config: DataConfig, *problems: Problem) -> tuple[list[str], list[str]]:
    """Ids of the train problems that remain, and what was told."""
    told: list[str] = []
    train, heldout = asyncio.run(sound_problems(config, LIMITS, problems, PROBLEMS[:2], told.append))
    assert [problem.id for problem in heldout] in (["right"], ["right", "wrong"])
    return [problem.id for problem in train], told


def test_faulty_problems_are_left_out_reported_by_id_and_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, told = check(data(tmp_path, "drop"), *PROBLEMS)
    assert left == ["right", "prints", "open", "sum"]
    text = "\n".join(told)
    for line in ("wrong: wrong_answer", "slow: time_limit", "broken: does_not_compile", "left out:"):
        assert line in text
    assert "odd tests: tests_unusable" in text

    def never(*_: object) -> None:
        raise AssertionError("a program ran again")

    monkeypatch.setattr(Sandbox, "run", never)
    assert check(data(tmp_path, "drop"), *PROBLEMS)[0] == left
    assert check(data(tmp_path, "report"), *PROBLEMS)[0] == [problem.id for problem in PROBLEMS]


def test_without_a_train_problem_left_the_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"reference solutions of all 1 fail, such as wrong: wrong_answer"):
        check(data(tmp_path, "drop"), PROBLEMS[1])


@pytest.mark.parametrize(("mode", "train"), [("off", "p.jsonl"), ("drop", "demo:code")])
def test_nothing_runs_where_nothing_is_to_be_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, train: str
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a sandbox was started")

    monkeypatch.setattr(solution_check, "build_runner", never)
    assert check(data(tmp_path, mode, train), *PROBLEMS) == ([problem.id for problem in PROBLEMS], [])


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_solution_broken_on_purpose_never_passes(tmp_path: Path, variant: str) -> None:
    record = {"task_id": 1, "text": "square", "code": PROBLEMS[0].solution, "test_list": list(SQUARE.asserts)}
    (tmp_path / "mbpp.jsonl").write_text(json.dumps(record) + "\n")
    (judged,) = judge_all(LIMITS, 1, broken(list(load_problems(tmp_path / "mbpp.jsonl", "mbpp")), variant))
    assert judged.outcome in ("wrong_answer", "runtime_error", "time_limit")


@pytest.mark.skipif(not MBPP, reason="TRACELIFT_MBPP names no MBPP file")
def test_solutions_of_mbpp_pass_their_own_tests() -> None:
    problems = load_problems(MBPP, "mbpp").records[::10]
    judged = judge_all(replace(LIMITS, cpu_s=5.0), 2, [(problem, problem.solution or "") for problem in problems])
    assert [(each.problem.id, each.outcome) for each in judged if each.outcome != "passed"] == []
