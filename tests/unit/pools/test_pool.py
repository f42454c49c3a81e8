"""The pool on members in this process: admission, deadlines, retries, health and replacement."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from tests.hang import HANG_S
from tests.unit.pools.members import LIMITS, FakeMember, started
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.pools import pool as pool_module
from tracelift_ray.pools.admission import Admission
from tracelift_ray.pools.pool import Member, Pool


async def settled() -> None:
    """Everything that can go on without time passing has gone on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_member_holds_no_more_than_its_capacity_and_the_rest_waits_in_the_pool() -> None:
    pool, spawner = await started()
    calls = [asyncio.ensure_future(pool.call("work", 0.01)) for _ in range(20)]
    await settled()
    assert (pool.metrics()["pools/worker/running"], pool.metrics()["pools/worker/queued"]) == (8.0, 12.0)
    assert sorted(await asyncio.gather(*calls)) == [0] * 10 + [1] * 10
    assert [member.most for member in spawner.made] == [4, 4]
    await pool.close()


async def test_a_member_may_hold_fewer_than_the_pool_allows() -> None:
    class Small(FakeMember):
        async def start(self) -> int:  # type: ignore[override]
            return 1 + self.index

    pool = Pool("worker", LIMITS, Small)
    await pool.start()
    assert [member.capacity for member in pool.members] == [1, 2]
    await pool.close()


async def test_closing_while_members_start_asks_those_that_are_up_alone() -> None:
    asked: list[int] = []

    class Slow(FakeMember):
        async def start(self) -> None:
            await asyncio.sleep(1e6 if self.index else 0)

        async def close(self) -> None:
            asked.append(self.index)

    made: list[Slow] = []
    pool = Pool("worker", LIMITS, lambda index, restart: made.append(Slow(index)) or made[-1])
    starting = asyncio.ensure_future(pool.start())
    await settled()
    await pool.close()
    starting.cancel()
    assert asked == [0] and all(member.killed for member in made)


async def test_a_member_that_cannot_start_ends_the_starts_of_the_others() -> None:
    ended: list[int] = []

    class Some(FakeMember):
        async def start(self) -> None:
            try:
                await asyncio.sleep(1e6 if self.index else 0)
            except asyncio.CancelledError:
                ended.append(self.index)
                raise
            raise InfrastructureError("engine", "no room for the cache")

    pool = Pool("worker", LIMITS, Some)
    with pytest.raises(InfrastructureError, match="no room"):
        await pool.start()
    await settled()
    assert ended == [1]
    await pool.close()


async def test_a_storm_costs_no_call_and_no_member() -> None:
    """Ten times the work that fits into one deadline: the deadline starts at dispatch, so nothing is late."""
    pool, spawner = await started(replace(LIMITS, deadline_s=5.0, retries=0))
    results = await asyncio.gather(*(pool.call("work", 0.02) for _ in range(400)))
    assert len(results) == 400 and pool.restarts == 0 and pool.late == 0
    assert not any(member.killed or member.cancelled for member in spawner.made)
    await pool.close()


async def test_a_late_call_is_cancelled_in_the_member_which_stays_where_it_is_healthy() -> None:
    pool, spawner = await started(replace(LIMITS, deadline_s=0.05, retries=0))
    with pytest.raises(InfrastructureError, match=r"did not finish work in 0.05 s; it is healthy: check its load"):
        await pool.call("work", 1000.0)
    assert sum(member.cancelled for member in spawner.made) == 1
    assert len(pool.members) == 2 and pool.restarts == 0 and pool.late == 1
    await pool.close()


async def test_a_member_that_does_not_answer_its_health_check_is_replaced_and_its_work_done_elsewhere() -> None:
    pool, spawner = await started(replace(LIMITS, deadline_s=0.05, retries=1))
    spawner.made[0].stopped = True
    assert await asyncio.gather(*(pool.call("work", 0.0) for _ in range(6))) == [1] * 6
    await settled()
    assert spawner.made[0].killed and pool.restarts == 1 and len(spawner.made) == 3
    assert (spawner.made[2].index, spawner.made[2].restart) == (0, 1)
    assert pool.metrics()["faults/worker/unanswered"] == 1
    await pool.close()


async def test_control_calls_do_not_wait_behind_work() -> None:
    pool, spawner = await started()
    calls = [asyncio.ensure_future(pool.call("work", 1000.0)) for _ in range(40)]
    await settled()
    await asyncio.wait_for(pool.control(pool.members[0], 30.0, "health"), 30.0)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert pool.metrics()["pools/worker/running"] == 0 and pool.metrics()["pools/worker/queued"] == 0
    assert sum(member.cancelled for member in spawner.made) == 8, "the dispatched ones end in their members too"
    await pool.close()


async def test_lanes_take_turns_and_within_one_the_order_is_kept() -> None:
    pool, spawner = await started(replace(LIMITS, workers=1, capacity=1))
    flood = [asyncio.ensure_future(pool.call("work", 0.0, f"train {i}", lane="train")) for i in range(200)]
    await settled()
    few = [asyncio.ensure_future(pool.call("work", 0.0, f"eval {i}", lane="eval")) for i in range(2)]
    await asyncio.gather(*flood, *few)
    done = spawner.made[0].done
    assert done.index("eval 1") < done.index("train 199")
    assert [name for name in done if name.startswith("train")] == [f"train {i}" for i in range(200)]
    await pool.close()


async def test_an_infrastructure_error_is_tried_on_another_member_and_a_bug_is_not() -> None:
    pool, _ = await started()
    assert [await pool.call("fail_on", 0) for _ in range(3)] == [1, 1, 1]
    with pytest.raises(KeyError, match="a bug"):
        await pool.call("bug")
    assert pool.metrics()["pools/worker/running"] == 0
    await pool.close()


async def test_a_dead_member_gives_its_calls_to_others_and_is_prepared_before_it_works_again() -> None:
    pool, spawner = await started()
    may_join = asyncio.Event()

    async def prepare(member: Member) -> None:
        await may_join.wait()

    pool.prepare = prepare
    calls = [asyncio.ensure_future(pool.call("work", 0.01)) for _ in range(8)]
    await settled()
    spawner.made[0].die()
    assert await asyncio.gather(*calls) == [1] * 8
    assert await asyncio.gather(*(pool.call("work", 0.0) for _ in range(6))) == [1] * 6
    may_join.set()
    await settled()
    assert sorted(await asyncio.gather(*(pool.call("work", 0.01) for _ in range(8)))) == [0] * 4 + [1] * 4
    await pool.close()


async def test_callers_wait_for_the_replacement_of_the_only_member() -> None:
    pool, spawner = await started(replace(LIMITS, workers=1))
    spawner.made[0].die()
    assert await pool.call("work", 0.0) == 0
    assert pool.restarts == 1
    assert pool.metrics()["faults/worker/died"] == 1 == pool.metrics()["pools/worker/restarts"]
    assert pool.metrics()["faults/worker/unanswered"] == 0 == pool.metrics()["faults/worker/failed"]
    await pool.close()


async def test_a_pool_that_cannot_be_restarted_refuses_those_who_wait_and_those_who_come() -> None:
    pool, spawner = await started(replace(LIMITS, workers=1, capacity=1))
    spawner.unable = 99
    waiting = [asyncio.ensure_future(pool.call("work", 1000.0)) for _ in range(3)]
    await settled()
    spawner.made[0].die()
    for failure in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(failure, InfrastructureError) and "no room for the cache" in str(failure)
    with pytest.raises(InfrastructureError, match="no member is up or could be started again: no room for the cache"):
        await pool.call("work", 0.0)
    assert all(member.killed for member in spawner.made)
    await pool.close()


async def test_a_place_that_was_given_up_is_tried_again_after_pauses_that_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "PAUSE_S", 0.01)
    pool, spawner = await started()
    spawner.unable = LIMITS.retries + 3  # the first tries, and two later ones
    spawner.made[0].die()
    assert await pool.call("work", 0.0) == 1 or await pool.call("work", 0.0) == 1
    ends = time.monotonic() + HANG_S
    while len(pool.members) < 2 and time.monotonic() < ends:
        await asyncio.sleep(0.005)
    assert [each.index for each in spawner.made[2:]] == [0] * (LIMITS.retries + 4)
    assert pool.restarts == 1 and pool.metrics()["pools/worker/given_up"] == 0.0
    await pool.close()


async def test_a_pool_that_is_closed_in_such_a_pause_starts_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "PAUSE_S", 0.02)
    pool, spawner = await started()
    spawner.unable = 99
    spawner.made[0].die()
    await asyncio.gather(*(pool.call("work", 0.0) for _ in range(4)))
    while not pool.metrics()["pools/worker/given_up"]:
        await asyncio.sleep(0.001)
    await pool.close()
    made = len(spawner.made)
    await asyncio.sleep(0.1)
    assert len(spawner.made) == made


async def test_a_caller_that_gives_up_leaves_no_place_taken() -> None:
    pool, _ = await started(replace(LIMITS, workers=1, capacity=1))
    first = asyncio.ensure_future(pool.call("work", 0.05))
    second, third = (asyncio.ensure_future(pool.call("work", 0.0)) for _ in range(2))
    await settled()
    second.cancel()
    assert await first == 0 and await third == 0
    member = pool.members[0]
    assert member.busy == 0
    await pool.close()


async def test_a_closed_pool_ends_its_members_and_those_who_wait() -> None:
    pool, spawner = await started(replace(LIMITS, workers=1, capacity=1))
    calls = [asyncio.ensure_future(pool.call("work", 1000.0)) for _ in range(2)]
    await settled()
    await pool.close()
    failures = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(failure, InfrastructureError) for failure in failures)
    assert all(member.killed for member in spawner.made) and len(spawner.made) == 1


async def test_ten_thousand_queued_calls_are_all_done() -> None:
    pool, _ = await started()
    assert len(await asyncio.gather(*(pool.call("work", 0.0) for _ in range(10_000)))) == 10_000
    assert pool.metrics()["pools/worker/queued"] == 0
    await pool.close()


async def test_a_start_that_fails_says_why() -> None:
    class Unable(FakeMember):
        async def start(self) -> None:
            raise InfrastructureError("engine", "no room for the cache")

    with pytest.raises(InfrastructureError, match=r"worker\[0\]: no room for the cache"):
        await Pool("worker", replace(LIMITS, workers=1), Unable).start()


async def test_a_member_that_does_not_wake_is_replaced_and_the_others_go_on() -> None:
    pool, spawner = await started()
    await pool.sleep()
    assert [member.asleep for member in spawner.made] == [True, True]
    spawner.made[0].drowsy = True
    await pool.wake()
    assert [member.asleep for member in spawner.made[:2]] == [True, False] and spawner.made[0].killed
    await settled()
    assert len(pool.members) == 2
    assert not spawner.made[2].asleep and pool.metrics()["faults/worker/died"] == 1


async def test_a_member_that_is_lost_while_the_pool_sleeps_is_replaced_once_it_is_awake() -> None:
    pool, spawner = await started()
    await pool.sleep()
    pool.replace(pool.members[0], "it died in its sleep")
    await settled()
    assert len(spawner.made) == 2, "its GPU is another's"
    await pool.wake()
    await settled()
    assert len(pool.members) == 2


async def test_a_pool_sleeps_once_its_replacements_are_up() -> None:
    pool, spawner = await started()
    pool.replace(pool.members[0], "it died")
    await pool.sleep()
    assert [member.asleep for member in spawner.made] == [False, True, True]


async def test_a_wait_that_is_cancelled_as_it_is_refused_ends_cancelled() -> None:
    admission: Admission = Admission(lambda: [])
    waiting = asyncio.ensure_future(admission.enter(""))
    await settled()
    admission.refuse_all(InfrastructureError("worker", "the pool was closed"))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
