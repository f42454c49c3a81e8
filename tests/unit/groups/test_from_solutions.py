"""Groups made from worked solutions: what each flaw does, and that the file that comes out is valid."""

import random
from typing import Any

import pytest

from tracelift_ray.data.groups import load_groups, write_groups
from tracelift_ray.groups.equations import find_equations
from tracelift_ray.groups.flaws import (
    FLAWS,
    arithmetic_slip,
    carried_slip,
    dropped_step,
    swapped_steps,
    wrong_operation,
)
from tracelift_ray.groups.from_solutions import build_groups, rubric_total, without_last_result
from tracelift_ray.types import Problem

STATEMENT = "A shop has 3 boxes of 12 pens and sells 10. How many shillings do the rest bring at 2 each?"
LINES = ("There are 3*12 = 36 pens.", "After the sale 36-10 = 26 are left.", "They bring 26*2 = 52 shillings.")
PROBLEM = Problem(id="p", task="math", statement=STATEMENT, task_type="math", answer="52", solution="\n".join(LINES))
SEEDS = range(40)
OPTIONS: dict[str, Any] = {
    "source": "shop",
    "negatives": 6,
    "seed": 0,
    "max_trace_chars": 2500,
    "withhold_answer": False,
}


def each(flaw, lines=LINES):
    """The flawed copies that 40 seeds give."""
    made = [flaw(lines, STATEMENT, random.Random(seed)) for seed in SEEDS]
    return [result for result in made if result is not None]


def holding(line):
    """Whether the equation of a line holds."""
    return len(find_equations(line)) == 1


def test_a_slip_breaks_one_equation_and_leaves_the_rest():
    assert len(each(arithmetic_slip)) > 20
    for spoiled in each(arithmetic_slip):
        changed = [i for i, line in enumerate(spoiled) if line != LINES[i]]
        assert len(changed) == 1
        assert [holding(line) for line in spoiled] == [i != changed[0] for i in range(3)]


def test_a_carried_slip_is_built_on_to_the_end():
    assert len(each(carried_slip)) > 20
    for spoiled in each(carried_slip):
        assert sum(not holding(line) for line in spoiled) == 1
        assert spoiled[2] != LINES[2] and holding(spoiled[2])


def test_a_wrong_operation_is_computed_correctly_and_built_on():
    assert len(each(wrong_operation)) > 20
    for spoiled in each(wrong_operation):
        assert all(map(holding, spoiled))
        assert spoiled[2] != LINES[2]


def test_a_dropped_step_is_one_that_a_later_step_uses():
    assert set(each(dropped_step)) == {LINES[1:], (LINES[0], LINES[2])}


def test_swapped_steps_put_a_result_before_its_making():
    assert set(each(swapped_steps)) == {(LINES[1], LINES[0], LINES[2]), (LINES[0], LINES[2], LINES[1])}


def test_the_carried_value_reaches_a_closing_sentence_but_no_number_of_the_statement():
    lines = (*LINES[:2], "So 26 pens and 10 more.")
    for spoiled in each(carried_slip, lines):
        assert "26 pens" not in spoiled[2] and "and 10 more" in spoiled[2]


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: flaw.kind)
def test_a_solution_without_arithmetic_offers_no_place(flaw):
    assert flaw.apply(("Think.", "Then answer."), STATEMENT, random.Random(0)) is None


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: flaw.kind)
def test_a_withheld_result_stays_withheld(flaw):
    lines = tuple(without_last_result("\n".join(LINES)).splitlines())
    assert lines[2] == "They bring 26*2 = ? shillings."
    made = each(flaw.apply, lines)
    assert made and all("\n".join(spoiled).count("= ?") == 1 for spoiled in made)


def test_the_last_result_is_withheld_wherever_it_is_mentioned_after():
    assert without_last_result("4+4 = 8\n8-4 = 4\nThe answer is 4.") == "4+4 = 8\n8-4 = ?\nThe answer is ?."
    assert without_last_result("No equation, 4 things") == "No equation, 4 things"


def test_a_group_has_the_solution_and_different_flawed_copies():
    (group,), report = build_groups([PROBLEM], **OPTIONS)
    assert [trace.reasoning for trace in group.positives] == ["\n".join(LINES)]
    assert group.positives[0].labels == (4,) * 5 and group.positives[0].total == 1.0
    texts = {trace.reasoning for trace in group.negatives}
    assert len(texts) == 6 and "\n".join(LINES) not in texts
    assert {trace.negative_kind for trace in group.negatives} == {flaw.kind for flaw in FLAWS}
    assert sum(report.kinds.values()) == 6 and report.groups == 1


def test_every_flaw_costs_the_rubric_something():
    for flaw in FLAWS:
        assert 0 <= rubric_total(flaw.labels) < 0.6 and min(flaw.labels) <= 1


def test_a_problems_group_depends_on_the_problem_and_the_seed_alone():
    other = Problem(id="q", task="math", statement="1 and 1?", answer="2", solution="1+1 = 2")
    (alone,), _ = build_groups([PROBLEM], **OPTIONS)
    groups, _ = build_groups([other, PROBLEM], **OPTIONS)
    assert groups[-1] == alone
    (reseeded,), _ = build_groups([PROBLEM], **{**OPTIONS, "seed": 1})
    assert reseeded.negatives != alone.negatives


def test_problems_that_make_no_group_are_counted_by_reason():
    problems = [
        Problem(id="a", task="math", statement="?", answer="1"),
        Problem(id="b", task="code", statement="?", solution="print(1)"),
        Problem(id="c", task="math", statement="?", answer="1", solution="It is one."),
        Problem(id="d", task="math", statement="?", answer="1", solution="1+1 = 2" * 1000),
    ]
    groups, report = build_groups(problems, **OPTIONS)
    assert groups == []
    assert report.left_out == {
        "no worked solution": 1,
        "a program is no trace": 1,
        "nothing to spoil": 1,
        "solution too long": 1,
    }


def test_the_written_file_loads_as_the_same_groups(tmp_path):
    groups, _ = build_groups([PROBLEM], **OPTIONS)
    write_groups(tmp_path / "groups.jsonl", groups)
    assert list(load_groups(tmp_path / "groups.jsonl")) == groups
