"""Traces of the demo world: what is valid, what an artifact follows, what each flaw does, and what the rubric says."""

from collections import Counter
from random import Random

import pytest

from tracelift_ray.demo.flaws import KINDS, habitual_lines, miswritten, perturb
from tracelift_ray.demo.rubric import rubric_labels, rubric_total
from tracelift_ray.demo.traces import Line, artifact_of, clean_lines, is_valid, parse, render, true_result
from tracelift_ray.demo.world import draw_problem, read_statement

MATH = read_statement("math", "tom has 7 pens . then buys 5 more . then gives ann 3 back . how many pens now ?")
CODE = read_statement("code", "read n , try 6 . then add 7 . then subtract it from 30 . print it .")


def test_the_valid_traces_read_as_they_should():
    assert render("math", clean_lines(MATH)) == "7 + 5 = 12 ; 12 - 3"
    assert render("code", clean_lines(CODE)) == "n + 7 : 6 -> 13 ; 30 - n : 13 -> 17"


def test_a_faithful_reader_makes_the_right_artifact_of_the_valid_trace():
    assert artifact_of("math", clean_lines(MATH)) == "9"
    assert artifact_of("code", clean_lines(CODE)) == "n=int(input()) ; n= n + 7 ; n= 30 - n ; print(n)"


@pytest.mark.parametrize("task", ["math", "code"])
def test_what_is_rendered_parses_back_flawed_or_not(task):
    rng = Random(6)
    for _ in range(200):
        problem = draw_problem(rng, task, "train")
        for kind in KINDS:
            lines = perturb(problem, kind, rng)
            if lines is not None:
                assert parse(task, render(task, lines)) == lines


@pytest.mark.parametrize(
    "text", ["", "7 + 5 = 12 ;", "7 plus 5", "7 + 5 = x", "7 + 5 12", "n + 7 : 6 -> 13", "7 + 5 = 12 = 13"]
)
def test_a_text_in_another_form_is_no_trace_and_scores_nothing(text):
    assert parse("math", text) is None
    assert not is_valid(MATH, text)
    assert rubric_labels(MATH, text) == (0,) * 5 and rubric_total(rubric_labels(MATH, text)) == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "7 + 5 = 13 ; 13 - 3",  # wrong result
        "7 + 5 = 12 ; 12 + 3",  # misread
        "7 + 5 = 12 ; 12 - 3 = 9",  # gives the answer away
        "7 + 0 = 7 ; 7 + 5 = 12 ; 12 - 3",  # idle step
        "7 + 5 = 12",  # a step is missing
        "5 + 7 = 12 ; 12 - 3",  # other numbers than told
    ],
)
def test_only_the_trace_that_says_exactly_the_steps_is_valid(text):
    assert is_valid(MATH, "7 + 5 = 12 ; 12 - 3")
    assert not is_valid(MATH, text)


def test_the_rubric_is_full_for_valid_traces_and_for_no_flawed_one():
    rng = Random(7)
    for task in ("math", "code") * 150:
        problem = draw_problem(rng, task, "train")
        assert rubric_labels(problem, render(task, clean_lines(problem))) == (4,) * 5
        for kind in KINDS:
            lines = perturb(problem, kind, rng)
            text = None if lines is None else render(task, lines)
            if text is not None and not is_valid(problem, text):
                assert rubric_total(rubric_labels(problem, text)) <= 0.65, (kind, problem.statement, text)


def test_each_dimension_sees_its_own_fault():
    labels = {
        "7 + 5 = 12 ; 12 + 3": (1, 1, 4, 4, 4),
        "7 + 5 = 13 ; 12 - 3": (4, 4, 1, 1, 4),
        "7 + 5 = 13 ; 13 - 3": (4, 4, 4, 1, 4),
        "7 + 5 = 12 ; 12 - 3 = 9": (4, 4, 4, 4, 1),
        "7 + 0 = 7 ; 7 + 5 = 12 ; 12 - 3": (1, 4, 4, 4, 2),
        "7 + 5": (4, 1, 4, 4, 4),
    }
    assert {text: rubric_labels(MATH, text) for text in labels} == labels
    assert rubric_total((4, 4, 4, 4, 1)) == pytest.approx(0.5 * 17 / 20 + 0.5 * 1 / 4)


@pytest.mark.parametrize(("kind", "misleads"), [("slip", False), ("extra", False), ("drop", True), ("operand", True)])
def test_benign_flaws_leave_the_artifact_right_and_the_others_mostly_do_not(kind, misleads):
    rng = Random(8)
    right: Counter[bool] = Counter()
    for _ in range(300):
        problem = draw_problem(rng, "math", "train")
        lines = perturb(problem, kind, rng)
        if lines is not None:
            right[artifact_of("math", lines) == str(problem.result)] += 1
    share = right[True] / right.total()
    assert share < 0.1 if misleads else share == 1.0


def test_a_leak_states_the_answer_and_code_has_none():
    assert render("math", perturb(MATH, "leak", Random(0)) or ()) == "7 + 5 = 12 ; 12 - 3 = 9"
    assert perturb(CODE, "leak", Random(0)) is None


def test_a_flaw_that_finds_no_place_is_none():
    single = read_statement("math", "tom has 7 pens . then finds 2 . how many pens now ?")
    assert [perturb(single, kind, Random(0)) for kind in ("drop", "slip", "value", "swap")] == [None] * 4


@pytest.mark.parametrize("task", ["math", "code"])
def test_the_untrained_planner_writes_few_valid_traces_and_its_habit_alone_does_no_harm(task):
    rng = Random(9)
    valid = harmless = 0
    for _ in range(1000):
        problem = draw_problem(rng, task, "train")
        lines = habitual_lines(problem, rng)
        sound = is_valid(problem, render(task, lines))
        valid += sound
        harmless += not sound and artifact_of(task, lines) == artifact_of(task, clean_lines(problem))
    assert 0.1 < valid / 1000 < 0.3
    assert harmless / 1000 > 0.15


def test_code_off_by_one_habit_keeps_the_operations():
    problem = read_statement("code", "read n , try 9 . then subtract 4 . then double it . print it .")
    drawn = {habitual_lines(problem, Random(seed)) for seed in range(60)}
    assert (Line("-", 4, 9, 6), Line("*", 2, 6, 13)) in drawn


@pytest.mark.parametrize("task", ["math", "code"])
def test_success_is_somewhat_likelier_where_the_habit_shows(task):
    rng = Random(10)
    success: dict[bool, list[bool]] = {False: [], True: []}
    for _ in range(4000):
        problem = draw_problem(rng, task, "train")
        lines, clean = habitual_lines(problem, rng), clean_lines(problem)
        if task == "math":
            habit = any(line.operation == "+" and line.operand == 0 for line in lines)
        else:
            habit = any(line.after == (true_result(line) or 0) + 1 for line in lines)
        if any(line.operation != "+" for line in clean):
            success[habit].append(artifact_of(task, lines) == artifact_of(task, clean))
    rates = {habit: sum(passed) / len(passed) for habit, passed in success.items()}
    assert 0.02 < rates[True] - rates[False] < 0.2


@pytest.mark.parametrize("task", ["math", "code"])
def test_a_result_may_be_miswritten_on_every_line_that_writes_one(task):
    rng = Random(5)
    problem = next(p for p in (draw_problem(rng, task, "train") for _ in range(100)) if len(p.steps) == 3)
    lines = clean_lines(problem)
    drawn = [miswritten(lines, rng) for _ in range(200)]
    first_wrong = Counter()
    for wrong in drawn:
        places = [i for i, line in enumerate(wrong) if line.after != lines[i].after]
        first_wrong[places[0]] += 1
        assert [(line.operation, line.operand) for line in wrong] == [(line.operation, line.operand) for line in lines]
    assert set(first_wrong) == ({0, 1} if task == "math" else {0, 1, 2})
    distances = {abs(wrong[0].after - lines[0].after) for wrong in drawn}
    assert 1 in distances and max(distances) > 10


def test_nothing_is_miswritten_where_no_result_is_written():
    assert miswritten([Line("-", 3, 12, None)], Random(0)) is None
