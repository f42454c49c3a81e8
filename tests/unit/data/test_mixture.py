"""Sources are mixed as their weights say, whatever their sizes; no problem is lost and none comes twice in an epoch."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tracelift_ray.data.mixture import Mixture
from tracelift_ray.data.sampler import ProblemSampler
from tracelift_ray.types import Problem

SMALL = tuple(Problem(f"s{i}", "math", f"small {i}", answer="1") for i in range(4))
LARGE = tuple(Problem(f"l{i}", "math", f"large {i}", answer="1") for i in range(50))
ORIGINS = {problem.id: place for place, some in enumerate((SMALL, LARGE)) for problem in some}


def sampler(*weights: float, seed: int = 1) -> ProblemSampler:
    return ProblemSampler((*SMALL, *LARGE), seed, Mixture(weights, ORIGINS))


def epochs(stream: ProblemSampler, count: int) -> list[list[str]]:
    drawn: list[list[str]] = [[] for _ in range(count)]
    while True:
        epoch, problem = stream.next()
        if epoch == count:
            return drawn
        drawn[epoch].append(problem.id)


@pytest.mark.parametrize(
    ("weights", "counts"),
    [((1, 1), (4, 4)), ((1, 3), (4, 12)), ((10, 20), (4, 8)), ((1, 25), (2, 50)), ((1, 99), (1, 50))],
)
def test_an_epoch_holds_of_each_source_what_its_weight_says(
    weights: tuple[float, float], counts: tuple[int, int]
) -> None:
    for epoch in epochs(sampler(*weights), 5):
        assert len(set(epoch)) == len(epoch)
        assert tuple(Counter(ORIGINS[id] for id in epoch)[source] for source in (0, 1)) == counts


def test_a_large_source_is_drawn_from_in_turn_until_all_of_it_was() -> None:
    drawn = Counter(id for epoch in epochs(sampler(1, 3), 4 * 40) for id in epoch)
    large = [drawn[problem.id] for problem in LARGE]
    assert min(large) > 0 and sum(large) == 12 * 160 and max(large) - min(large) < 15
    first_cycle = [id for epoch in epochs(sampler(1, 3), 4) for id in epoch if ORIGINS[id] == 1]
    assert len(set(first_cycle)) == len(first_cycle) == 48


def test_sources_are_mixed_within_an_epoch_and_the_order_is_of_the_seed() -> None:
    (one,) = epochs(sampler(1, 3), 1)
    assert [one] == epochs(sampler(1, 3), 1) != epochs(sampler(1, 3, seed=2), 1)
    assert one != sorted(one, key=lambda id: ORIGINS[id])


@pytest.mark.parametrize("position", [0, 7, 16, 17, 100])
def test_a_restored_mixture_goes_on_exactly(position: int) -> None:
    stream, other = sampler(1, 3), sampler(1, 3)
    for _ in range(position):
        stream.next()
    other.restore(json.loads(json.dumps(stream.state())))
    assert [stream.next() for _ in range(40)] == [other.next() for _ in range(40)]
