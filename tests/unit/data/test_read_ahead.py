from __future__ import annotations

import threading

import pytest

from tracelift_ray.data.read_ahead import MOST, ReadAhead
from tracelift_ray.errors import DataError
from tracelift_ray.types import Problem


def problem(number: int) -> Problem:
    return Problem(f"p{number}", "math", "?", answer="1")


def odd(number: int) -> tuple[Problem, int]:
    """Every second number is of no use."""
    return problem(number | 1), (number | 1) + 1


def test_what_is_drawn_ahead_is_what_would_be_drawn() -> None:
    ahead, number = ReadAhead(odd), 0
    for _ in range(2 * MOST):
        drawn = ahead.take(number)
        assert drawn == odd(number)
        number = drawn[1]


def test_who_draws_does_not_wait_for_a_slow_generator_between_draws() -> None:
    drawn_by, enough = set(), threading.Event()

    def draw(number: int) -> tuple[Problem, int]:
        drawn_by.add(threading.current_thread().name)
        if number == 5:
            enough.set()
        return problem(number), number + 1

    ahead = ReadAhead(draw)
    assert ahead.take(0) == (problem(0), 1)
    assert enough.wait(60), "it goes on drawing while nobody asks"
    assert [ahead.take(number)[0].id for number in range(1, 6)] == ["p1", "p2", "p3", "p4", "p5"]
    assert drawn_by == {"problems"}


def test_no_more_is_drawn_ahead_than_is_kept() -> None:
    drawn, full = [], threading.Event()

    def draw(number: int) -> tuple[Problem, int]:
        drawn.append(number)
        if number == MOST + 1:
            full.set()
        return problem(number), number + 1

    ahead = ReadAhead(draw)
    ahead.take(0)
    assert full.wait(60)
    ahead.take(1)
    assert ahead.take(2)[0].id == "p2" and max(drawn) <= MOST + 4


def test_a_run_that_resumes_draws_from_where_it_was() -> None:
    ahead = ReadAhead(odd)
    ahead.take(0)
    assert ahead.take(100) == odd(100) and ahead.take(102) == odd(102)


def test_a_fault_is_raised_where_the_problem_is_taken_and_can_be_asked_for_again() -> None:
    def draw(number: int) -> tuple[Problem, int]:
        if number == 1:
            raise DataError("none can be used")
        return problem(number), number + 1

    ahead = ReadAhead(draw)
    assert ahead.take(0)[1] == 1
    for _ in range(2):
        with pytest.raises(DataError, match="none can be used"):
            ahead.take(1)
