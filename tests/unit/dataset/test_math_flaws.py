"""What each flaw does to a worked solution, and that the flawed copies tell nothing but their flaw."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest

from tests.unit.dataset.cases import LINES, PROBLEM
from tracelift_ray.dataset.math_rules.edits import Lines
from tracelift_ray.dataset.math_rules.equations import evaluate, find_equations, numbers_of
from tracelift_ray.dataset.math_rules.perturber import MATH_LABELS, math_negatives
from tracelift_ray.dataset.math_rules.remarks import is_remark
from tracelift_ray.dataset.math_rules.values import (
    is_fraction_bar,
    is_spelled,
    misread,
    quantities,
    slipped,
    written_numbers,
)
from tracelift_ray.dataset.pipeline.rule_stages import rubric_of
from tracelift_ray.dataset.pipeline.stages import Candidate

TRACE = "\n".join(LINES)


@functools.cache
def all_made(trace: str) -> tuple[Candidate, ...]:
    """The different flawed copies that 40 seeds give."""
    copies = (c for seed in range(40) for c in math_negatives(PROBLEM, trace, random.Random(seed), 10))
    return tuple({copy.reasoning: copy for copy in copies}.values())


def made(kind: str, trace: str = TRACE) -> list[Candidate]:
    return [copy for copy in all_made(trace) if copy.kind == kind]


def lines_of(kind: str) -> list[Lines]:
    found = [tuple(line for line in f.reasoning.splitlines() if not is_remark(line)) for f in made(kind)]
    assert found, f"no place for {kind}"
    return found


def lefts(lines: Lines) -> list[str]:
    return [line.split("=")[0].split()[-1] for line in lines if "=" in line]


@pytest.mark.parametrize("kind", MATH_LABELS)
def test_every_kind_finds_a_place_and_differs_from_the_good_trace(kind: str) -> None:
    copies = made(kind)
    assert copies and all(copy.reasoning != TRACE and 0 <= copy.place <= 1 for copy in copies)


@pytest.mark.parametrize("kind", [k for k in MATH_LABELS if k != "leaked_answer"])
def test_no_other_kind_gives_the_answer_away(kind: str) -> None:
    for copy in made(kind):
        lines = [line for line in copy.reasoning.splitlines() if not is_remark(line)]
        assert lines[-1].count("?") == 1 and "600" not in copy.reasoning


def test_a_slip_breaks_one_equation_and_is_built_on() -> None:
    for lines in lines_of("arithmetic_slip"):
        assert sum(not find_equations(line) for line in lines) == 1
        assert lines[2] != LINES[2]


def test_a_wrong_operation_is_computed_correctly_and_built_on() -> None:
    for lines in lines_of("wrong_operation"):
        assert all(find_equations(line) for line in lines)
        changed = next(i for i, line in enumerate(lines) if line != LINES[i])
        assert all(lines[i] != LINES[i] for i in range(changed, 3))


def test_swapped_quantities_are_quantities_of_the_problem() -> None:
    for lines in lines_of("swapped_quantities"):
        assert all(find_equations(line) for line in lines)
        first = next(i for i, line in enumerate(lines) if line != LINES[i])
        new = numbers_of(lefts(lines)[first]) - numbers_of(lefts(LINES)[first])
        assert new <= {Fraction(n) for n in (15, 12, 30, 4)}


def test_a_misread_number_stands_everywhere_and_all_is_computed_with_it() -> None:
    for lines in lines_of("misread_condition"):
        assert all(find_equations(line) for line in lines)
        given = {Fraction(n) for n in (15, 12, 30, 4)}
        used = {value for line in lines for value in numbers_of(line)}
        assert len(given - used) == 1, "one number of the problem is gone, and only one"


def test_a_contradiction_goes_on_from_another_value_than_was_found() -> None:
    for lines in lines_of("contradiction"):
        found = [find_equations(line)[0] for line in lines]
        at = next(i for i, line in enumerate(lines) if line != LINES[i])
        assert found[at - 1].value not in found[at].operands


def test_a_flaw_that_comes_to_nothing_is_not_made() -> None:
    # The first step is never used, and stopping after the third would give the right answer.
    lines = (
        "She has 7*9 = 63 cats.",
        "There are 48/4 = 12 pens.",
        "Then 48-12 = 36.",
        "They take 36/2 = 18.",
        "So 36-18 = ?",
    )
    problem = replace(PROBLEM, statement="48 pens, 4 boxes, 2 boys, 7 of 9 cats.", answer="18")
    for seed in range(30):
        for copy in math_negatives(problem, "\n".join(lines), random.Random(seed), 10):
            if copy.kind not in ("dropped_step", "swapped_steps", "irrelevant_step", "leaked_answer"):
                (last,) = find_equations(copy.reasoning.splitlines()[-1])
                assert last.value != 18, copy


def test_a_dropped_step_is_one_that_a_later_step_uses() -> None:
    assert set(lines_of("dropped_step")) == {LINES[1:], (LINES[0], LINES[2])}


def test_swapped_steps_put_a_result_before_its_making() -> None:
    assert set(lines_of("swapped_steps")) == {(LINES[1], LINES[0], LINES[2])}


def test_an_irrelevant_step_is_correct_and_leaves_the_others_as_they_are() -> None:
    for copy in made("irrelevant_step"):
        lines = copy.reasoning.splitlines()
        assert tuple(line for line in lines if not is_remark(line)) == LINES
        (remark,) = filter(is_remark, lines)
        assert len(find_equations(remark)) == 1


def test_a_premature_trace_takes_a_result_on_the_way_for_the_last() -> None:
    ends = {lines[-1] for lines in lines_of("premature_answer")}
    assert ends == {"There are 15*12 = ? pens.", "After the sale 180-30 = ? pens are left."}


def test_a_leaked_answer_is_filled_in_or_stated() -> None:
    texts = [copy.reasoning for copy in made("leaked_answer")]
    assert any("150*4 = 600" in text for text in texts) and any(text.endswith("is 600.") for text in texts)


def test_no_flawed_trace_has_two_remarks() -> None:
    remarked = f"Also, adding 30 to 150 gives 150+30 = 180.\n{TRACE}"
    for kind in MATH_LABELS:
        for trace in (TRACE, remarked):
            assert all(sum(map(is_remark, c.reasoning.splitlines())) <= 1 for c in made(kind, trace))


def test_a_remark_that_a_flaw_makes_false_goes_with_the_flaw() -> None:
    remarked = "\n".join((*LINES[:1], "Note that 180 divided by 12 is 180/12 = 15.", *LINES[1:]))
    for kind in ("wrong_operation", "misread_condition", "swapped_quantities"):
        for copy in made(kind, remarked):
            for line in filter(is_remark, copy.reasoning.splitlines()):
                assert find_equations(line)[0].value in numbers_of(copy.reasoning.replace(line, ""))


def test_numbers_keep_the_form_of_those_that_they_replace() -> None:
    trace = "He earns $1,250 + $1,250 = $2,500.\nIn two years he earns 2,500*2 = $5,000.\nHe keeps 5,000-800 = $?"
    for kind in ("arithmetic_slip", "wrong_operation"):
        for copy in made(kind, trace):
            assert not any(value >= 1000 and f"{value}" in copy.reasoning for value in range(1000, 9999))


def test_the_same_seed_gives_the_same_and_different_seeds_differ() -> None:
    def negatives(seed: int) -> list[Candidate]:
        return math_negatives(PROBLEM, TRACE, random.Random(seed), 8)

    assert negatives(1) == negatives(1) != negatives(2)
    assert len({copy.reasoning for copy in negatives(1)}) == 8
    assert len({copy.kind for copy in negatives(1)}) == 8, "kinds are as even as they can be"


def test_a_trace_without_arithmetic_offers_no_place() -> None:
    assert math_negatives(PROBLEM, "Think.\nThen answer.", random.Random(0), 8) == []


def test_every_flaw_costs_something_and_an_early_one_no_less_than_a_late_one() -> None:
    judge = functools.partial(rubric_of, MATH_LABELS)
    assert judge(None, 0.0).labels == (4,) * 5 and judge(None, 0.0).total == 1.0
    for kind in MATH_LABELS:
        early, late = judge(kind, 0.0), judge(kind, 1.0)
        assert early.total <= late.total < 0.7
        assert all(0 <= label <= 4 for label in early.labels + late.labels)
    with pytest.raises(KeyError):
        judge("unheard_of", 0.0)


Pick = Callable[[Fraction, random.Random], Fraction | None]


@pytest.mark.parametrize("pick", [slipped, lambda value, rng: misread(value, set(), rng)], ids=["slipped", "misread"])
@pytest.mark.parametrize("value", [Fraction(3), Fraction(48), Fraction(250), Fraction(5, 2)])
def test_other_values_are_near_and_different(pick: Pick, value: Fraction) -> None:
    others = {pick(value, random.Random(seed)) for seed in range(30)}
    assert len(others) > 1 and value not in others
    assert all(other is not None and 0 < other < 3 * value for other in others)


def test_numbers_in_words_and_fractions_are_left_alone() -> None:
    known = written_numbers("Two of 8 boys eat 3/4 of 20 pies")
    assert known == {Fraction(n) for n in (2, 8, 3, 4, 20)}
    assert quantities("Two of 8 boys eat 3/4 of 20 pies", known) == {Fraction(n) for n in (2, 8, 20)}
    assert is_spelled("he doubles it", Fraction(2)) is False and is_spelled("double that", Fraction(2))
    assert is_fraction_bar("3/4*20", 1) and not is_fraction_bar("48/2", 2)
    assert evaluate("3/4*20") == 15


@pytest.mark.parametrize("joint", [" ", " ; "])
def test_a_trace_in_one_paragraph_is_changed_in_its_steps(joint: str) -> None:
    copies = math_negatives(PROBLEM, joint.join(LINES), random.Random(0), 10)
    assert len({copy.kind for copy in copies}) == 10
    dropped = {copy.reasoning for copy in copies if copy.kind == "swapped_steps"}
    assert dropped == {joint.join((LINES[1], LINES[0], LINES[2]))}


def test_a_trace_that_withholds_nothing_gets_no_question_mark() -> None:
    trace = "There are 15*12 = 180 pens.\nAfter the sale 180-30 = 150 are left.\nThey bring 150*4 shillings."
    copies = [c for seed in range(10) for c in math_negatives(PROBLEM, trace, random.Random(seed), 8)]
    kinds = {copy.kind for copy in copies}
    assert {"premature_answer", "leaked_answer"} <= kinds
    assert not any("= ?" in copy.reasoning for copy in copies)
