"""The demo world as a data source: stable, split without overlap, and right."""

import subprocess
import sys

import pytest

from tests.hang import HANG_S
from tracelift_ray.data.rubric_records import load_rubric_records, write_rubric_records
from tracelift_ray.demo.source import demo_groups, demo_problems, trace_is_valid
from tracelift_ray.types import Problem

TASKS: tuple[str, ...] = ("math", "code")


@pytest.mark.parametrize("task", TASKS)
def test_a_draw_is_repeatable_distinct_and_a_prefix_of_a_longer_one(task):
    problems = demo_problems(task, 200, 1, "train")
    assert demo_problems(task, 300, 1, "train")[:200] == problems
    assert len({problem.id for problem in problems}) == len({problem.statement for problem in problems}) == 200
    assert demo_problems(task, 200, 2, "train") != problems


@pytest.mark.parametrize("task", TASKS)
def test_train_and_heldout_share_no_problem(task):
    train = {problem.id for problem in demo_problems(task, 2000, 0, "train")}
    assert not train & {problem.id for problem in demo_problems(task, 500, 0, "heldout")}


def test_an_id_belongs_to_one_statement_in_every_process():
    first = demo_problems("math", 1, 0, "train")[0]
    program = "from tracelift_ray.demo.source import demo_problems; print(demo_problems('math', 1, 0, 'train')[0].id)"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=HANG_S)
    assert other.stdout.strip() == first.id


def test_a_math_problem_has_an_answer_and_its_solution_is_a_valid_trace():
    for problem in demo_problems("math", 200, 0, "heldout"):
        assert problem.tests is None and problem.answer is not None and 0 <= int(problem.answer) <= 40
        assert problem.solution is not None and trace_is_valid(problem, problem.solution)


def test_a_code_problems_program_passes_its_three_tests():
    for problem in demo_problems("code", 200, 0, "heldout"):
        assert problem.answer is None and problem.tests is not None and len(problem.tests) == 3
        assert len(set(problem.tests.inputs)) == 3
        for given, expected in zip(problem.tests.inputs, problem.tests.outputs, strict=True):
            printed: list[object] = []
            exec(problem.solution or "", {"input": lambda given=given: given, "print": printed.append})
            assert [str(value) for value in printed] == [expected]


def test_statements_do_not_hold_the_prompts_tag():
    assert not any("<" in problem.statement for task in TASKS for problem in demo_problems(task, 100, 0, "train"))


def test_validity_is_read_from_the_statement_alone():
    problem = Problem("x", "code", "read n , try 6 . then add 7 . then double it . print it .")
    assert trace_is_valid(problem, "n + 7 : 6 -> 13 ; n * 2 : 13 -> 26")
    assert not trace_is_valid(problem, "n + 7 : 6 -> 14 ; n * 2 : 14 -> 28")
    assert not trace_is_valid(problem, "")
    with pytest.raises(ValueError, match="demo world"):
        trace_is_valid(Problem("y", "code", "sort a list"), "n + 7 : 6 -> 13")


@pytest.mark.parametrize("task", TASKS)
def test_groups_survive_the_released_schema(task, tmp_path):
    groups = list(demo_groups(task, 30, 0, "train"))
    write_rubric_records(tmp_path / "groups.jsonl", groups)
    loaded = load_rubric_records(tmp_path / "groups.jsonl").records
    kept = [(g.problem.statement, g.problem.tests, g.positives, g.negatives) for g in groups]
    assert [(g.problem.statement, g.problem.tests, g.positives, g.negatives) for g in loaded] == kept


@pytest.mark.parametrize("task", TASKS)
def test_a_groups_positive_is_valid_and_its_negatives_are_distinct_and_not(task):
    for group in demo_groups(task, 100, 4, "heldout"):
        assert [trace_is_valid(group.problem, trace.reasoning) for trace in group.positives] == [True]
        texts = [trace.reasoning for trace in group.negatives]
        assert 1 <= len(set(texts)) == len(texts) <= 7
        assert not any(trace_is_valid(group.problem, text) for text in texts)
        assert all(trace.total < group.positives[0].total == 1.0 for trace in group.negatives)
