"""Held-out problems are chosen by their ids alone, and none of them, nor its text, stays among the train problems."""

from __future__ import annotations

import random

import pytest

from tracelift_ray.data.split import Leakage, interleaved, split_heldout, without_leaks
from tracelift_ray.types import CodeTests, Problem


def math(id: str, statement: str = "") -> Problem:
    return Problem(id, "math", statement or f"problem {id}", answer="1")


def code(id: str) -> Problem:
    return Problem(id, "code", f"program {id}", tests=CodeTests("stdio", ("1",), ("1",)))


MANY = tuple(math(f"m{i}") for i in range(2_000))


def test_the_share_is_about_the_fraction_and_order_is_kept() -> None:
    train, heldout = split_heldout(MANY, 0.1)
    assert 150 < len(heldout) < 250
    places = {problem.id: place for place, problem in enumerate(MANY)}
    for side in (train, heldout):
        assert [places[p.id] for p in side] == sorted(places[p.id] for p in side)
    assert {p.id for p in train} | {p.id for p in heldout} == set(places)
    assert len(train) + len(heldout) == len(MANY)


def test_a_problem_keeps_its_side_whatever_else_is_there() -> None:
    _, heldout = split_heldout(MANY, 0.1)
    shuffled = list(MANY[:1_000])
    random.Random(0).shuffle(shuffled)
    _, fewer = split_heldout([math("new"), *shuffled], 0.1)
    assert {p.id for p in fewer} - {"new"} == {p.id for p in heldout if p in MANY[:1_000]}


def test_a_larger_fraction_holds_out_what_a_smaller_one_did() -> None:
    assert set(split_heldout(MANY, 0.05)[1]) < set(split_heldout(MANY, 0.2)[1])


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_each_task_has_a_problem_on_either_side(fraction: float) -> None:
    train, heldout = split_heldout([*MANY[:5], code("a"), code("b")], fraction)
    assert {p.task for p in train} == {p.task for p in heldout} == {"math", "code"}


def test_a_single_problem_is_trained_on_and_fraction_zero_holds_nothing_out() -> None:
    assert split_heldout([math("a")], 0.5) == ((math("a"),), ())
    assert split_heldout(MANY[:3], 0) == (MANY[:3], ())


@pytest.mark.parametrize("fraction", [-0.1, 1.0])
def test_a_fraction_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match=r"it must be in \[0, 1\)"):
        split_heldout(MANY, fraction)


def test_held_out_problems_leave_train_by_id_and_by_text() -> None:
    heldout = [math("h", "Tom has  2 nuts."), math("i", "ﬁve nuts")]
    train = [math("a"), math("h", "another text"), math("b", "tom has 2\nnuts. "), math("c", "five nuts")]
    kept, leakage = without_leaks(train, heldout)
    assert [p.id for p in kept] == ["a"]
    assert leakage == Leakage(by_id=1, by_text=2)


def test_texts_that_differ_in_one_sign_are_different() -> None:
    kept, leakage = without_leaks([math("a", "3 - 4 = ?")], [math("b", "3 + 4 = ?")])
    assert len(kept) == 1 and leakage == Leakage()


def test_tasks_are_spread_evenly_in_their_own_order() -> None:
    mixed = interleaved([*MANY[:6], code("a"), code("b"), code("c")])
    assert [p.task for p in mixed] == ["math", "code", "math"] * 3
    assert [p.id for p in mixed if p.task == "math"] == [p.id for p in MANY[:6]]
    assert interleaved(MANY) == MANY
    assert interleaved([]) == ()
