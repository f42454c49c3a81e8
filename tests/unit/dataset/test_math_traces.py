"""Good traces of math problems: the solution without its result, with a remark, and with a step worked in."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.unit.dataset.cases import LINES, PROBLEM, STATEMENT
from tracelift_ray.dataset.math_rules.equations import find_equations, numbers_of
from tracelift_ray.dataset.math_rules.remarks import is_remark, pointless_remark, sound_remark
from tracelift_ray.dataset.math_rules.traces import condensed, math_traces, solution_lines, withheld_steps
from tracelift_ray.dataset.pipeline.stages import Refused
from tracelift_ray.tasks.table import task_of

SEEDS = range(60)


def refusal(solution: str | None, answer: str = "600") -> str:
    with pytest.raises(Refused) as raised:
        withheld_steps(replace(PROBLEM, solution=solution, answer=answer))
    return raised.value.reason


def test_the_plain_trace_is_the_solution_without_notes_and_result() -> None:
    for seed in SEEDS:
        assert math_traces(PROBLEM, random.Random(seed))[0] == "\n".join(LINES)


def test_every_trace_of_a_problem_is_answer_free_and_different() -> None:
    seen = set()
    for seed in SEEDS:
        traces = math_traces(PROBLEM, random.Random(seed))
        assert len(set(traces)) == len(traces) == 3
        assert not any(task_of(PROBLEM.task).leaks(PROBLEM, trace) for trace in traces)
        assert sum(map(is_remark, traces[1].splitlines())) == 1
        seen.update(traces)
    assert len(seen) > 10, "remarks vary"


def test_a_step_worked_into_its_use_keeps_the_value() -> None:
    made = {tuple(condensed(list(LINES), frozenset(), random.Random(seed)) or ()) for seed in SEEDS}
    assert made == {
        ("After the sale (15*12)-30 = 150 pens are left.", LINES[2]),
        (LINES[0], "They bring (180-30)*4 = ? shillings."),
    }


def test_a_result_mentioned_twice_or_given_by_the_problem_is_not_worked_in() -> None:
    twice = ["4+4 = 8 pens.", "So 8 pens: 8*2 = ?"]
    assert condensed(twice, frozenset(), random.Random(0)) is None
    once = ["4+4 = 8 pens.", "So 8*2 = ?"]
    assert condensed(once, frozenset(numbers_of("8 shops")), random.Random(0)) is None
    assert condensed(once, frozenset(), random.Random(0)) == ["So (4+4)*2 = ?"]


def test_remarks_hold_and_only_sound_ones_belong_to_the_solution() -> None:
    for seed in SEEDS:
        rng = random.Random(seed)
        index, sound = sound_remark(STATEMENT, LINES, rng) or (0, "")
        _, pointless = pointless_remark(STATEMENT, LINES, rng) or (0, "")
        assert is_remark(sound) and is_remark(pointless) and 0 <= index <= 2
        (equation,) = find_equations(pointless)
        results = {e.value for line in LINES for e in find_equations(line)}
        assert equation.value not in results
        if find_equations(sound):
            assert numbers_of(sound) <= {value for line in LINES for value in numbers_of(line)}


@pytest.mark.parametrize(
    "step", ["Also, he buys 3+4 = 7 pens.", "Here 3 and 4 make 3+4 = 7 pens.", "Besides, 7-4 = 3."]
)
def test_a_step_that_begins_like_a_remark_is_none(step: str) -> None:
    assert not is_remark(step)


def test_a_solution_of_one_paragraph_is_taken_by_sentences() -> None:
    assert solution_lines("He has 2+2 = 4 pens. He buys 3. So 4+3 = 7.") == [
        "He has 2+2 = 4 pens.",
        "He buys 3.",
        "So 4+3 = 7.",
    ]


def test_lines_that_only_state_the_answer_again_are_left_out() -> None:
    lines = withheld_steps(replace(PROBLEM, solution=f"{PROBLEM.solution}".replace("####", "The rest bring")))
    assert lines == list(LINES)


@pytest.mark.parametrize(
    ("solution", "answer", "reason"),
    [
        (None, "1", "no worked solution"),
        ("Let x be it.\nx = 3+3 = 6\n6+1 = 7", "7", "the solution works with unknowns"),
        ("2+2 = 4", "4", "fewer than two calculations that can be read"),
        ("2+2 = 4\n4+4 = 8", "9", "the last calculation does not give the answer"),
        ("2+2 = 4\n4+4 = 8\nSo 8 of 20 are left.", "8", "something follows the final result"),
        ("2+2 = 4\nSo 8 are left because 4+4 = 8", "8", "the result is stated before its calculation"),
    ],
)
def test_solutions_that_cannot_be_followed_are_refused_with_a_reason(
    solution: str | None, answer: str, reason: str
) -> None:
    assert refusal(solution, answer) == reason
