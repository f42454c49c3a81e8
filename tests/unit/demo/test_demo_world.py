"""Problems of the demo world: a statement tells its problem wholly, and each statement is in one split."""

from random import Random

import pytest

from tracelift_ray.demo.world import LARGEST_VALUE, Split, draw_problem, read_statement, split_of

TASKS: tuple[str, ...] = ("math", "code")


@pytest.mark.parametrize("task", TASKS)
def test_a_statement_read_back_is_the_problem_that_made_it(task):
    rng = Random(3)
    for _ in range(400):
        problem = draw_problem(rng, task, "train")
        assert read_statement(task, problem.statement) == problem


def test_every_value_of_a_problem_has_a_token_and_every_step_follows_from_the_one_before():
    rng = Random(4)
    for task in TASKS * 200:
        problem = draw_problem(rng, task, "heldout")
        values = [problem.start, *(step.after for step in problem.steps)]
        assert [step.before for step in problem.steps] == values[:-1]
        assert all(0 <= value <= LARGEST_VALUE for value in values)
        assert problem.run(problem.start) == problem.result


def test_a_problem_is_drawn_only_in_the_split_its_text_belongs_to():
    rng = Random(5)
    splits: tuple[Split, ...] = ("train", "heldout")
    for split in splits:
        assert {split_of(draw_problem(rng, "math", split).statement) for _ in range(100)} == {split}


def test_the_number_of_steps_can_be_chosen():
    assert {len(draw_problem(Random(seed), "code", "train", steps=4).steps) for seed in range(20)} == {4}


def test_a_program_problem_runs_on_inputs_other_than_the_worked_example():
    problem = read_statement("code", "read n , try 6 . then double it . then subtract it from 20 . print it .")
    assert [problem.run(value) for value in (6, 2, 11)] == [8, 16, -2]


@pytest.mark.parametrize(
    "statement",
    [
        "what is 2 plus 2 ?",
        "tom has 7 pens . then eats 5 . how many pens now ?",
        "tom has 7 pens . then keeps half . how many pens now ?",
        "tom has pens . then finds 2 . how many pens now ?",
        "",
    ],
)
def test_a_text_of_another_world_is_refused(statement):
    with pytest.raises(ValueError, match="demo"):
        read_statement("math", statement)
