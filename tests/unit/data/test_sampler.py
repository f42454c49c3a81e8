"""The stream of problems is endless, fair, the same for the same seed, and goes on exactly where it was saved."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from tracelift_ray.data.sampler import ProblemSampler, SampledProblem
from tracelift_ray.errors import DataError
from tracelift_ray.types import CodeTests, Problem

MATH = tuple(Problem(f"m{i}", "math", f"{i} + 1 = ?", answer=str(i + 1)) for i in range(20))
CODE = tuple(Problem(f"c{i}", "code", f"add {i}", tests=CodeTests("stdio", ("1",), ("1",))) for i in range(5))
PROBLEMS = MATH + CODE
PINNED = ["m2", "m1", "m5", "m4", "m3", "m0", "m4", "m3", "m0", "m5", "m1", "m2"]


def draw(sampler: ProblemSampler, count: int) -> list[SampledProblem]:
    return [sampler.next() for _ in range(count)]


def ids(drawn: list[SampledProblem]) -> list[tuple[int, str]]:
    return [(epoch, problem.id) for epoch, problem in drawn]


def test_each_epoch_holds_every_problem_once_in_an_order_of_its_own() -> None:
    drawn = draw(ProblemSampler(PROBLEMS, seed=1), 3 * len(PROBLEMS))
    epochs = [drawn[i : i + len(PROBLEMS)] for i in range(0, len(drawn), len(PROBLEMS))]
    for number, epoch in enumerate(epochs):
        assert {sampled.epoch for sampled in epoch} == {number}
        assert Counter(sampled.problem for sampled in epoch) == Counter(PROBLEMS)
    orders = {tuple(sampled.problem.id for sampled in epoch) for epoch in epochs}
    assert len(orders) == 3
    assert tuple(problem.id for problem in PROBLEMS) not in orders


def test_tasks_are_mixed_within_an_epoch() -> None:
    places = []
    sampler = ProblemSampler(MATH[:200] + CODE, seed=0)
    for place, sampled in enumerate(draw(sampler, len(sampler) * 40)):
        if sampled.problem.task == "code":
            places.append(place % len(sampler))
    assert abs(sum(places) / len(places) - (len(sampler) - 1) / 2) < 2


def test_the_order_depends_on_seed_and_ids_and_on_nothing_else() -> None:
    one = ids(draw(ProblemSampler(PROBLEMS, seed=1), 60))
    assert ids(draw(ProblemSampler(tuple(reversed(PROBLEMS)), seed=1), 60)) == one
    assert ids(draw(ProblemSampler(PROBLEMS, seed=2), 60)) != one


@pytest.mark.parametrize("position", [0, 1, 24, 25, 26, 60])
def test_a_restored_sampler_goes_on_exactly(position: int) -> None:
    sampler = ProblemSampler(PROBLEMS, seed=3)
    draw(sampler, position)
    state = json.loads(json.dumps(sampler.state()))
    resumed = ProblemSampler(tuple(reversed(PROBLEMS)), seed=3)
    draw(resumed, 7)
    resumed.restore(state)
    assert ids(draw(resumed, 60)) == ids(draw(sampler, 60))


@pytest.mark.parametrize(
    ("problems", "seed", "message"),
    [
        (PROBLEMS[1:], 3, "was sampling 25 problems, these are 24 with other ids"),
        ((replace(PROBLEMS[0], id="new"), *PROBLEMS[1:]), 3, "these are 25 with other ids"),
        (PROBLEMS, 4, "was sampling with seed 3, this run has 4"),
    ],
)
def test_a_state_of_other_problems_or_another_seed_is_refused(
    problems: tuple[Problem, ...], seed: int, message: str
) -> None:
    state = ProblemSampler(PROBLEMS, seed=3).state()
    other = ProblemSampler(problems, seed)
    before = other.state()
    with pytest.raises(DataError, match=message):
        other.restore(state)
    assert other.state() == before


@pytest.mark.parametrize("change", [{"position": 26}, {"position": -1}, {"epoch": None}, {"position": "3"}])
def test_a_broken_state_is_refused(change: dict[str, Any]) -> None:
    sampler = ProblemSampler(PROBLEMS, seed=3)
    with pytest.raises(DataError):
        sampler.restore(sampler.state() | change)


def test_no_problems_and_doubled_ids_are_refused() -> None:
    with pytest.raises(DataError, match="no problems to sample from"):
        ProblemSampler((), seed=0)
    with pytest.raises(DataError, match="1 problems have the id of another"):
        ProblemSampler((*PROBLEMS, MATH[0]), seed=0)


def test_the_stream_of_a_seed_never_changes() -> None:
    """Pinned: a checkpoint written today resumes the same stream under any later version."""
    drawn = draw(ProblemSampler(MATH[:6], seed=0), 12)
    assert [problem.id for _, problem in drawn] == PINNED
