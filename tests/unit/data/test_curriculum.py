"""Problems that the executor alone always or never solves are left out, and looked at again; none is lost, and a resume
draws what an unbroken run draws."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from tests.configs import run_config
from tests.hang import HANG_S
from tests.unit.rl.fakes import FakeRollout, problems
from tracelift_ray.config.schema import CurriculumConfig
from tracelift_ray.data.curriculum import Curriculum
from tracelift_ray.data.mixture import Mixture
from tracelift_ray.data.sampler import ProblemSampler
from tracelift_ray.rl.assembly import build_sampler
from tracelift_ray.rl.scheduler import Scheduler
from tracelift_ray.rl.tickets import Ticket
from tracelift_ray.types import Baseline, Group, Problem

PROBLEMS = problems(9)
CONFIG = CurriculumConfig(True, 1.0, 0.0, 4, 2)
RUN = run_config("algorithm.group_size=2", "data.curriculum.enabled=true", "data.curriculum.min_samples=2")


def sampler(config: CurriculumConfig = CONFIG, *, grows: bool = True, mixture: Mixture | None = None) -> ProblemSampler:
    return ProblemSampler(PROBLEMS, 1, mixture, Curriculum(config, grows=grows))


def alone(problem: Problem, epoch: int) -> int:
    """Successes of two samples: p0 and p1 are always solved, p2 is never; the others sometimes."""
    return {"p0": 2, "p1": 2, "p2": 0}.get(problem.id, Random(f"{problem.id}/{epoch}").choice((1, 1, 2, 0)))


def epochs(stream: ProblemSampler, count: int) -> list[set[str]]:
    """The problems of each epoch, every group measured at once."""
    drawn: list[set[str]] = [set() for _ in range(count)]
    while (found := stream.next()).epoch < count:
        assert found.problem.id not in drawn[found.epoch], "once an epoch"
        drawn[found.epoch].add(found.problem.id)
        stream.measured(found.problem, Baseline(alone(found.problem, found.epoch), 2))
    return drawn


def test_problems_that_are_always_or_never_solved_rest_and_are_looked_at_again() -> None:
    resting = {"p0", "p1", "p2"}
    drawn = epochs(sampler(replace(CONFIG, min_samples=4)), 8)
    assert [each & resting for each in drawn] == [resting, resting, set(), set(), resting, set(), set(), resting]
    only_easy = epochs(sampler(replace(CONFIG, hard_threshold=None, min_samples=2)), 3)
    assert [each & resting for each in only_easy[1:]] == [{"p2"}] * 2


def test_what_an_epoch_leaves_out_is_counted_and_said() -> None:
    stream = sampler(replace(CONFIG, min_samples=4))
    epochs(stream, 2)  # draws the first of the third epoch, too
    found = stream.metrics()
    assert (found["data/epoch"], found["data/too_easy"], found["data/too_hard"], found["data/again"]) == (2, 2, 1, 0)
    assert found["data/problems"] + 3 == len(PROBLEMS)
    assert stream.note() == (
        "epoch 2 has 6 problems; left out because the executor solves them alone: 2 (too easy), or does not: 1 (too "
        "hard); looked at again: 0"
    )
    assert stream.note() == ""


def test_a_problem_that_rested_comes_until_it_is_measured_again() -> None:
    one = Curriculum(replace(CONFIG, revisit_after=1), grows=True)
    ids = ["a", "b"]
    one.measured("a", Baseline(4, 4))
    seen = []
    for epoch in range(1, 5):
        one.begin(epoch, ids)
        seen.append("a" in one.left(ids))
    assert seen == [False, True, True, True]
    one.measured("a", Baseline(2, 2))
    one.begin(5, ids)
    assert one.left(ids) == ["b"]


def test_an_epoch_is_never_empty() -> None:
    stream = sampler(replace(CONFIG, hard_threshold=1.0, easy_threshold=None))
    assert all(epochs(stream, 6))


def test_shared_samples_count_once() -> None:
    for grows, left in ((True, ["b"]), (False, ["a", "b"])):
        one = Curriculum(CONFIG, grows=grows)
        for _ in range(2):
            one.measured("a", Baseline(3, 3, 1.0, 2.0))
        one.begin(1, ["a", "b"])
        assert one.left(["a", "b"]) == left


def test_weights_hold_among_the_problems_that_are_left() -> None:
    mixture = Mixture((1.0, 2.0), {problem.id: int(problem.id[1:]) // 5 for problem in PROBLEMS})  # 5 and 4
    drawn = epochs(sampler(mixture=mixture), 12)
    counts = [Counter(int(id[1:]) // 5 for id in each) for each in drawn]
    assert all(each == {0: 2, 1: 4} for each in counts)
    assert {id for each in drawn for id in each} == {problem.id for problem in PROBLEMS}


@pytest.mark.parametrize("position", range(0, 60, 7))
def test_a_restored_sampler_goes_on_exactly(position: int) -> None:
    stream, other = sampler(), sampler()

    def go_on(one: ProblemSampler, count: int) -> list[tuple[int, str]]:
        drawn = []
        for _ in range(count):
            epoch, problem = one.next()
            one.measured(problem, Baseline(alone(problem, epoch), 2))
            drawn.append((epoch, problem.id))
        return drawn

    go_on(stream, position)
    other.restore(json.loads(json.dumps(stream.state())))
    assert go_on(stream, 60) == go_on(other, 60) and stream.state() == other.state()


class Measured(FakeRollout):
    """Groups with a baseline, some of them without signal."""

    async def run(self, ticket: Ticket) -> Group:
        return replace(await super().run(ticket), baseline=Baseline(alone(ticket.problem, ticket.epoch), 2))


@pytest.mark.parametrize("staleness", [0, 2])
@pytest.mark.parametrize("whole", [True, False])
async def test_a_resumed_stream_draws_what_an_unbroken_one_draws(staleness: int, whole: bool) -> None:
    def begin() -> tuple[Scheduler, Measured]:
        rollout = Measured(lambda ticket: (0.5, 0.5) if ticket.serial % 3 == 1 else (0.0, 1.0))
        stream = replace(RUN.stream, max_staleness=staleness, order="submission", max_refills=1)
        algorithm = replace(RUN.algorithm, groups_per_step=2, group_size=2)
        return Scheduler(rollout, build_sampler(RUN, PROBLEMS), stream, algorithm), rollout

    async def steps(one: Scheduler, first: int, last: int) -> None:
        for version in range(first, last):
            one.finished(await asyncio.wait_for(one.next_batch(version), HANG_S), version + 1)

    def drawn(*rollouts: Measured) -> dict[int, tuple[int, str]]:
        return {t.serial: (t.epoch, t.problem.id) for rollout in rollouts for t in rollout.started}

    stream, unbroken = begin()
    await steps(stream, 0, 20)
    await stream.stop()
    left_out = {problem.id for problem in PROBLEMS} - {id for epoch, id in drawn(unbroken).values() if epoch == 2}
    assert left_out, "there is something to lose"

    stream, first = begin()
    await steps(stream, 0, 11)
    if not whole:  # it ends while a batch forms
        await asyncio.wait([asyncio.ensure_future(stream.next_batch(11))], timeout=HANG_S)
    state = json.loads(json.dumps(stream.state()))
    await stream.stop()
    stream, second = begin()
    stream.restore(state)
    await steps(stream, 11, 20)
    await stream.stop()
    assert drawn(first, second) == drawn(unbroken)
