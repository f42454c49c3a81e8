"""The stream's invariants on in-process fakes: the account, staleness, order, refills, failures, resume."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from tests.configs import run_config
from tests.hang import HANG_S
from tests.unit.rl.fakes import FakeRollout, problems
from tracelift_ray.data.sampler import ProblemSampler
from tracelift_ray.rl.ledger import END_STATES
from tracelift_ray.rl.scheduler import GroupBatch, Scheduler, StreamError
from tracelift_ray.rl.tickets import Ticket
from tracelift_ray.types import Group

RUN = run_config("reward=exec_only", "reasoning_rm.model=''")


def scheduler(
    rollout: FakeRollout, *, staleness: int = 0, groups: int = 3, updates: int = 1, **stream: Any
) -> Scheduler:
    return Scheduler(
        rollout,
        ProblemSampler(problems(50), seed=1),
        replace(RUN.stream, max_staleness=staleness, **stream),
        replace(RUN.algorithm, groups_per_step=groups, group_size=2, updates_per_batch=updates),
    )


async def train(stream: Scheduler, steps: int, rng: Random | None = None, updates: int = 1) -> list[GroupBatch]:
    """Consume ``steps`` batches as the loop does; a batch with signal takes some ticks and raises the version."""
    version, batches = 0, []
    for _ in range(steps):
        batch = await asyncio.wait_for(stream.next_batch(version), HANG_S)
        batches.append(batch)
        for scored in batch.groups:
            assert version - scored.group.oldest_version <= stream.stream.max_staleness
        if batch.groups:
            for _ in range(rng.randrange(8) if rng else 1):
                await asyncio.sleep(0)
            version += updates
        stream.finished(batch, version)
    return batches


async def test_on_policy_runs_nothing_while_the_learner_works() -> None:
    rollout = FakeRollout(delay=lambda t: 1 + t.serial % 5)
    stream = scheduler(rollout)
    batch = await stream.next_batch(0)
    assert rollout.running == 0 and len(rollout.started) == 3
    stream.finished(batch, 1)
    await asyncio.sleep(0)
    assert [t.submitted_version for t in rollout.started[3:]] == [1, 1, 1]
    await stream.stop()


async def test_on_policy_consumes_in_the_order_of_submission_not_of_completion() -> None:
    stream = scheduler(FakeRollout(delay=lambda t: 20 - t.serial % 3 * 9), groups=3)
    batches = await train(stream, 4)
    await stream.stop()
    assert [g.group.serial for b in batches for g in b.groups] == list(range(12))


async def test_with_staleness_generation_runs_on_while_the_learner_works() -> None:
    rollout = FakeRollout()
    stream = scheduler(rollout, staleness=1)
    await stream.next_batch(0)
    await asyncio.sleep(0)
    assert len(rollout.started) == 6  # the batch in training, and one more of the same version
    await stream.stop()


def random_rollout(seed: int) -> FakeRollout:
    """Groups with signal, without, or failing; at once or straggling."""

    def rewards(ticket: Ticket) -> tuple[float, float] | None:
        return Random(f"fate/{seed}/{ticket.serial}").choices([(0.0, 1.0), (1.0, 1.0), None], (8, 3, 1))[0]

    return FakeRollout(rewards, lambda ticket: Random(f"delay/{seed}/{ticket.serial}").choice((0, 1, 3, 60)))


@pytest.mark.parametrize("staleness", [0, 1, 2, 5])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("updates", [1, 2])
async def test_no_trace_older_than_the_bound_is_trained_and_every_group_ends_once(
    staleness: int, groups: int, updates: int
) -> None:
    for seed in range(8):
        rng = Random(seed)
        rollout = random_rollout(seed)
        stream = scheduler(rollout, staleness=staleness, groups=groups, updates=updates, max_failed_groups=100)
        batches = await train(stream, 12, rng, updates)
        await asyncio.sleep(0)  # what was just submitted starts
        await stream.stop()
        ledger = stream.ledger
        assert ledger.submitted == len(rollout.started)
        assert ledger.count("trained") == sum(len(b.groups) for b in batches)
        assert ledger.count("filtered") == sum(len(b.zero_signal) for b in batches)
        assert sum(ledger.count(end) for end in END_STATES) + ledger.outstanding == ledger.submitted
        assert ledger.outstanding <= stream.capacity


async def test_a_straggler_beyond_the_bound_is_dropped_and_counted() -> None:
    # Group 0 takes longer than several steps; the others finish at once.
    stream = scheduler(FakeRollout(delay=lambda t: 200 if t.serial == 0 else 1), staleness=1, groups=2)
    version, dropped = 0, 0
    while not dropped:
        batch = await asyncio.wait_for(stream.next_batch(version), HANG_S)
        dropped += batch.dropped
        assert all(g.group.serial != 0 for g in batch.groups)
        version += 1
        stream.finished(batch, version)
        for _ in range(20):
            await asyncio.sleep(0)
    assert stream.ledger.count("dropped") == 1
    await stream.stop()


async def test_a_batch_of_groups_without_signal_holds_nothing_to_train() -> None:
    stream = scheduler(FakeRollout(lambda _: (0.5, 0.5)))
    batch = await stream.next_batch(0)
    assert batch.groups == () and len(batch.zero_signal) == 3 and not batch.refill_cap_reached
    await stream.stop()


@pytest.mark.parametrize("max_refills", [0, 2])
async def test_on_policy_no_group_is_submitted_in_vain(max_refills: int) -> None:
    rollout = FakeRollout(lambda t: (0.5, 0.5) if t.serial % 3 else (0.0, 1.0), delay=lambda t: 1 + t.serial % 4)
    stream = scheduler(rollout, groups=4, max_refills=max_refills)
    batches = await train(stream, 6)
    assert sum(len(batch.seen) for batch in batches) == stream.ledger.submitted - stream.ledger.outstanding
    assert stream.ledger.count("dropped") == 0
    await stream.stop()


async def test_groups_without_signal_are_replaced_up_to_the_cap_which_is_reported() -> None:
    stream = scheduler(FakeRollout(lambda t: (0.5, 0.5) if t.serial < 4 else (0.0, 1.0)), groups=3, max_refills=10)
    batch = await stream.next_batch(0)
    assert len(batch.groups) == 3 and len(batch.replaced) == 4 and not batch.refill_cap_reached
    await stream.stop()

    stream = scheduler(FakeRollout(lambda _: (0.5, 0.5)), groups=3, max_refills=2)
    batch = await stream.next_batch(0)
    assert len(batch.replaced) == 2 and len(batch.zero_signal) == 3 and batch.refill_cap_reached
    await stream.stop()


async def test_an_estimator_over_the_batch_has_its_second_step_before_the_learner() -> None:
    stream = scheduler(FakeRollout(lambda t: (1.0, 1.0) if t.serial % 3 else (0.0, 0.0)), groups=3)
    stream.algorithm = replace(stream.algorithm, advantage="reinforce_pp")
    (batch,) = await train(stream, 1)
    await stream.stop()
    assert [scored.has_signal for scored in batch.groups] == [True] * 3 and not batch.zero_signal
    poor, good = (batch.groups[place].advantages[0] for place in (0, 1))
    assert poor is not None and good is not None and poor == pytest.approx(-2 * good)


async def test_a_batch_that_its_second_step_leaves_without_signal_is_filtered_and_accounted_for() -> None:
    stream = scheduler(FakeRollout(lambda _: (0.5, 0.5)), groups=3)
    stream.algorithm = replace(stream.algorithm, advantage="reinforce_pp")
    batches = await train(stream, 2)
    await stream.stop()
    assert all(batch.groups == () and len(batch.zero_signal) == 3 for batch in batches)
    assert stream.ledger.metrics()["groups/filtered"] == 6


async def test_too_many_failed_groups_stop_the_run_with_their_causes() -> None:
    stream = scheduler(FakeRollout(lambda _: None), max_failed_groups=4)
    with pytest.raises(StreamError, match=r"5 groups failed in one step.*max_failed_groups=4(.|\n)*executor: gone"):
        await stream.next_batch(0)
    await stream.stop()


async def test_failed_groups_are_refilled() -> None:
    stream = scheduler(FakeRollout(lambda t: None if t.serial % 2 else (0.0, 1.0)), max_failed_groups=10)
    batch = await stream.next_batch(0)
    assert len(batch.groups) == 3 and batch.failed >= 2
    await stream.stop()


@pytest.mark.parametrize("staleness", [0, 2])
async def test_a_resumed_stream_gives_the_problems_that_an_unbroken_one_gives(staleness: int) -> None:
    def asked(started: list[Ticket]) -> list[tuple[int, str]]:
        return [(t.epoch, t.problem.id) for t in started]

    unbroken = FakeRollout()
    stream = scheduler(unbroken, staleness=staleness, groups=4)
    await train(stream, 30)
    await stream.stop()

    first = FakeRollout()
    stream = scheduler(first, staleness=staleness, groups=4)
    await train(stream, 13)
    state = stream.state()
    await stream.stop()
    second = FakeRollout()
    resumed = scheduler(second, staleness=staleness, groups=4)
    resumed.restore(state)
    await train(resumed, 17)
    await resumed.stop()

    ended = stream.ledger.submitted - stream.ledger.outstanding
    replayed = asked(first.started)[:ended] + asked(second.started)
    assert sorted(replayed) == sorted(asked(unbroken.started))


async def test_a_state_that_lists_groups_without_serials_gives_them_the_last_ones() -> None:
    state = {
        "sampler": scheduler(FakeRollout()).sampler.state(),
        "ledger": {"next_serial": 9, "trained": 5, "filtered": 1, "dropped": 0, "failed": 0},
        "in_flight": [[0, "p7"], [0, "p3"], [1, "p1"]],
    }
    rollout = FakeRollout()
    resumed = scheduler(rollout)
    resumed.restore(state)
    await train(resumed, 2)
    await resumed.stop()
    again = [(ticket.serial, ticket.epoch, ticket.problem.id) for ticket in rollout.started[:3]]
    assert again == [(6, 0, "p7"), (7, 0, "p3"), (8, 1, "p1")]


async def test_a_batch_that_forms_when_the_run_ends_is_the_same_after_a_resume() -> None:
    def silent(ticket: Ticket) -> tuple[float, float]:
        return (0.5, 0.5) if ticket.serial % 3 == 1 else (0.0, 1.0)

    unbroken = FakeRollout(silent)
    stream = scheduler(unbroken, groups=4, max_refills=1)
    expected = [[g.group.serial for g in batch.seen] for batch in await train(stream, 3)]
    await stream.stop()

    first = FakeRollout(silent, delay=lambda t: 10_000 if t.serial == 8 else 1)  # of the second batch
    stream = scheduler(first, groups=4, max_refills=1)
    await train(stream, 1)
    forming = asyncio.ensure_future(stream.next_batch(1))
    for _ in range(40):
        await asyncio.sleep(0)
    forming.cancel()
    state = stream.state()
    await stream.stop()
    assert stream.ledger.count("filtered") > state["ledger"]["filtered"], "a group without signal was consumed"
    second = FakeRollout(silent)
    resumed = scheduler(second, groups=4, max_refills=1)
    resumed.restore(state)
    assert [[g.group.serial for g in batch.seen] for batch in await train(resumed, 2)] == expected[1:]
    await resumed.stop()
    known = {ticket.serial: ticket.problem.id for ticket in unbroken.started}
    assert all(known[t.serial] == t.problem.id for t in (*first.started, *second.started) if t.serial in known)
    assert resumed.ledger.count("filtered") == stream.ledger.count("filtered") + 2


async def test_by_index_a_batch_waits_for_its_turn_and_for_every_trace_that_was_asked_for() -> None:
    """The groups of even serials take longest; nothing the planner owes is written by newer weights."""

    class Writing(FakeRollout):
        async def run(self, ticket: Ticket) -> Group:
            finished = await super().run(ticket)
            ticket.wrote(0, None, 1)
            for _ in range(7):  # executed and scored meanwhile
                await asyncio.sleep(0)
            return finished

    rollout = Writing(delay=lambda ticket: 30 if ticket.serial % 2 == 0 else 1)
    stream = scheduler(rollout, staleness=1, groups=2, order="submission")
    serials = []
    for version in range(3):
        batch = await asyncio.wait_for(stream.next_batch(version), HANG_S)
        assert rollout.running == 0 and len(rollout.started) == 2 * version + 4
        serials += [scored.group.serial for scored in batch.groups]
        stream.finished(batch, version + 1)
    await stream.stop()
    assert serials == list(range(6))
    assert [ticket.submitted_version for ticket in rollout.started[:8]] == [0, 0, 0, 0, 1, 1, 2, 2]
