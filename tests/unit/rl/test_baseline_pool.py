"""Pooled baselines: the estimate, what a group knows of former ones, and that a resume changes none of it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from tests.configs import run_config
from tests.hang import HANG_S
from tests.unit.rl.fakes import FakeGenerator, FakeRollout, FakeVerifier, problems
from tests.unit.rl.test_rollout import SETTINGS, answers, plans
from tracelift_ray.data.sampler import ProblemSampler
from tracelift_ray.reward.grounded import direction
from tracelift_ray.rl.assembly import build_rollout
from tracelift_ray.rl.baseline_pool import BaselinePool
from tracelift_ray.rl.scheduler import Scheduler
from tracelift_ray.rl.system import PlannerExecutorSystem, SystemPools
from tracelift_ray.rl.tickets import Ticket, saved_baselines
from tracelift_ray.types import Artifact, Baseline, Execution, Group, Problem, Verdict

RUN = run_config("reward.baseline=pooled", "reward.baseline_samples=2", "algorithm.group_size=2")
PROBLEMS = problems(9)


def drawn(pool: BaselinePool, problem: Problem, successes: int, samples: int) -> None:
    before = pool.known(problem)
    pool.add(problem, before, replace(before, successes=before.successes + successes, samples=before.samples + samples))


def test_the_estimate_is_the_posterior_mean_around_the_mean_of_the_task():
    pool = BaselinePool(2.0)
    assert pool.known(PROBLEMS[0]) == Baseline(0, 0, 1.0, 2.0)
    drawn(pool, PROBLEMS[0], 3, 4)
    drawn(pool, PROBLEMS[1], 0, 4)
    drawn(pool, replace(PROBLEMS[2], task="code"), 4, 4)
    assert pool.known(PROBLEMS[0]).rate == pytest.approx((3 + 2 * 0.4) / 6)
    assert pool.known(PROBLEMS[3]).rate == pytest.approx(0.4)
    assert pool.known(replace(PROBLEMS[3], task="code")).rate == pytest.approx(5 / 6)


def test_a_pool_goes_on_from_its_state_exactly():
    pool, rng = BaselinePool(1.5), Random(0)
    for _ in range(40):
        drawn(pool, rng.choice(PROBLEMS), rng.randint(0, 2), 2)
    again = BaselinePool(1.5)
    again.restore(json.loads(json.dumps(pool.state())))
    assert all(again.known(each) == pool.known(each) for each in PROBLEMS)


@pytest.mark.parametrize("b", [0.1, 0.5, 0.9])
def test_its_bias_and_variance_are_those_that_the_docs_state(b):
    samples, strength, mean = 5, 2.0, 0.3
    passed = np.random.default_rng(0).binomial(samples, b, 200_000)
    rates = np.array([Baseline(n, samples, strength * mean, strength).rate for n in range(samples + 1)])[passed]
    assert rates.mean() - b == pytest.approx(strength * (mean - b) / (samples + strength), abs=2e-3)
    assert rates.var() == pytest.approx(samples * b * (1 - b) / (samples + strength) ** 2, rel=0.02)


@pytest.mark.parametrize(("passed", "rate", "c"), [(2, 0.5, 1.0), (1, 0.5, 0.5), (1, 0.8, -1.0), (0, 0.2, 0.0)])
def test_the_direction_compares_with_the_estimate(passed, rate, c):
    verdicts = [Verdict("passed")] * passed + [Verdict("wrong_answer")] * (2 - passed)
    given = [Execution(Artifact("", ""), verdict) for verdict in verdicts]
    assert direction(given, Baseline(0, 2, 10 * rate, 8.0), {}) == c


class Draws(FakeRollout):
    """Groups that draw two samples without a trace, by problem and epoch."""

    async def run(self, ticket: Ticket) -> Group:
        group = await super().run(ticket)
        known, rng = ticket.known, Random(f"{ticket.problem.id}/{ticket.epoch}")
        assert known is not None
        passed = rng.randint(0, 2)
        return replace(group, baseline=replace(known, successes=known.successes + passed, samples=known.samples + 2))


def scheduler(rollout: FakeRollout, staleness: int) -> Scheduler:
    stream = replace(RUN.stream, max_staleness=staleness, order="submission", max_refills=1)
    algorithm = replace(RUN.algorithm, groups_per_step=4, group_size=2)
    return Scheduler(rollout, ProblemSampler(PROBLEMS, seed=1), stream, algorithm, baselines=BaselinePool(2.0))


async def steps(stream: Scheduler, first: int, last: int) -> None:
    for version in range(first, last):
        stream.finished(await asyncio.wait_for(stream.next_batch(version), HANG_S), version + 1)


def some_without_signal(ticket: Ticket) -> tuple[float, float]:
    return (0.5, 0.5) if ticket.serial % 3 == 1 else (0.0, 1.0)


async def test_what_groups_drew_counts_for_those_submitted_after_their_batch():
    stream = scheduler(rollout := Draws(some_without_signal), 0)
    batch = await stream.next_batch(0)
    assert all(ticket.known == Baseline(0, 0, 1.0, 2.0) for ticket in rollout.started)
    stream.finished(batch, 1)
    await asyncio.sleep(0)
    seen = {scored.group.problem.id: scored.group.baseline for scored in batch.seen}
    total = sum(each.successes for each in seen.values() if each)
    for ticket in rollout.started[len(seen) :]:
        assert ticket.known is not None and ticket.known.prior_successes == 2 * (total + 1) / (2 * len(seen) + 2)
    await steps(stream, 1, 6)
    assert max(ticket.known.samples for ticket in rollout.started if ticket.known) >= 4
    await stream.stop()


@pytest.mark.parametrize("staleness", [0, 2])
@pytest.mark.parametrize("whole", [True, False])
async def test_a_resumed_stream_knows_what_an_unbroken_one_knows(staleness: int, whole: bool):
    stream = scheduler(unbroken := Draws(some_without_signal), staleness)
    await steps(stream, 0, 10)
    await stream.stop()
    expected = {ticket.serial: ticket.known for ticket in unbroken.started}

    stream = scheduler(first := Draws(some_without_signal), staleness)
    await steps(stream, 0, 5)
    if not whole:  # it ends while a batch forms
        await asyncio.wait([forming := asyncio.ensure_future(stream.next_batch(5))], timeout=HANG_S)
        assert forming.done()
    state = json.loads(json.dumps(stream.state()))
    await stream.stop()
    resumed = scheduler(second := Draws(some_without_signal), staleness)
    resumed.restore(state)
    await steps(resumed, 5, 10)
    await resumed.stop()
    found = {ticket.serial: ticket.known for ticket in (*first.started, *second.started)}
    assert found.keys() == expected.keys() and found == expected


async def test_a_group_adds_its_samples_until_the_pool_is_full():
    executor: FakeGenerator = answers(without="5")
    rollout = build_rollout(RUN, PlannerExecutorSystem(SystemPools(plans(), executor, FakeVerifier(), None), SETTINGS))
    ticket = Ticket(0, 0, problems(5)[4], 0)
    asked = []
    for known in (Baseline(0, 0, 1.0, 2.0), Baseline(3, 15, 1.0, 2.0), Baseline(3, 16, 1.0, 2.0)):
        executor.requests.clear()
        found = await rollout._baseline(replace(ticket, known=known))
        count = sum(params.n for _, params in executor.requests)
        asked.append(count)
        assert found == replace(known, successes=known.successes + count, samples=known.samples + count)
        assert len(found.executions) == count
    assert asked == [2, 1, 0]


def test_a_checkpoint_keeps_the_counts_of_a_baseline_and_no_answers():
    drawn = (Execution(Artifact("4", "4"), Verdict("wrong_answer")),)
    known = Baseline(3, 15, 1.0, 2.0, executions=drawn)
    saved = saved_baselines([Ticket(7, 0, PROBLEMS[0], 0, known)])
    assert saved == {"7": {"successes": 3, "samples": 15, "prior_successes": 1.0, "prior_samples": 2.0}}
