"""What a watchdog says, and when: over real pools whose members hang, on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.unit.pools.members import LIMITS, FakeMember, started
from tests.unit.rl.loop_runs import Run
from tracelift_ray.pools.held import Held, PoolState
from tracelift_ray.rl.watchdog import Snapshot, Watchdog, describe, progress, snapshot
from tracelift_ray.simulation.clock import SimulatedLoop
from tracelift_ray.tracking.alive import alive

QUIET_S = 60.0


def run(work: Coroutine[Any, Any, Any]) -> Any:
    loop = SimulatedLoop("0", shuffled=False)
    try:
        return loop.run_until_complete(work)
    finally:
        loop.abandon()


def test_the_line_names_stage_pool_member_and_times_the_longest_first() -> None:
    executor = PoolState("executor", (Held("1.0", "generate", 3, 20.0), Held("0.2", "generate", 1, 80.0)), 5, 30.0, 9)
    planner = PoolState("planner", (Held("0.0", "receive_weights", 1, 10.0),), 0, 100.0, 4)
    idle = PoolState("verifier", (), 0, 100.0, 4)
    at = Snapshot(7, {"rollout": 5.0}, {"running": 2, "ready": 1, "training": 0}, (idle, executor, planner))
    assert describe(at, 100.0, 61.0) == (
        "nothing has progressed for 61 s: step 7 is in rollout for 95 s; 2 groups running, 1 group ready; "
        "planner[0.0] holds 1 receive_weights call for 90 s; "
        "executor[1.0] holds 3 generate calls, the oldest for 80 s; executor[0.2] holds 1 generate call for 20 s; "
        "5 calls wait for a place in executor, the first for 70 s"
    )


def test_any_part_that_goes_on_is_progress() -> None:
    pool = PoolState("planner", (Held("0.0", "generate", 1, 3.0),), 0, 0.0, 4)
    at = Snapshot(7, {"rollout": 5.0}, {"running": 2}, (pool,), 3)
    later = replace(at, pools=(replace(pool, queued=9, queued_since=8.0),))
    assert progress(at) == progress(later)  # that more waits is none
    for other in (
        replace(at, step=8),
        replace(at, groups={"running": 1}),
        replace(at, pools=(replace(pool, ended=5),)),
        replace(at, passed=4),
    ):
        assert progress(other) != progress(at)


def test_a_member_that_hangs_is_named_after_a_quiet_minute_and_again_when_that_has_doubled() -> None:
    said: list[tuple[float, str]] = []

    async def hang() -> None:
        clock = asyncio.get_running_loop().time
        pool, spawner = await started(replace(LIMITS, deadline_s=1e4, capacity=1))
        spawner.made[1].stopped = True
        calls = [asyncio.ensure_future(pool.call("work", 5.0)) for _ in range(5)]
        watchdog = Watchdog(lambda: Snapshot(1, {"rollout": 0.0}, {}, (pool.state(),)), QUIET_S, clock)
        async with alive(lambda line: said.append((clock(), line)), watchdog.line):
            await asyncio.wait(calls, timeout=320.0)
            assert pool.state().ended == 4 + LIMITS.workers  # starts of members among them
            for call in calls:
                call.cancel()
            await pool.close()

    run(hang())
    assert [line.partition(";")[2].rpartition(" for ")[0] for _, line in said] == [
        " no group is open; worker[1.0] holds 1 work call"
    ] * 3
    assert [round(at - 20.0, -1) for at, _ in said] == [QUIET_S, 2 * QUIET_S, 4 * QUIET_S]


def test_a_health_check_is_no_progress_and_is_named() -> None:
    said: list[str] = []

    async def hang() -> None:
        clock = asyncio.get_running_loop().time
        limits = replace(LIMITS, deadline_s=100.0, capacity=1, workers=1, health_s=200.0, retries=0)
        pool, spawner = await started(limits)
        spawner.made[0].stopped = True

        work = asyncio.ensure_future(pool.call("work", 5.0))
        watchdog = Watchdog(lambda: Snapshot(1, {"rollout": 0.0}, {}, (pool.state(),)), QUIET_S, clock)
        async with alive(said.append, watchdog.line):
            await asyncio.sleep(200.0)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await pool.close()

    async def answer(self: FakeMember, method: str, *args: Any) -> None:
        if method == "health":
            await asyncio.sleep(1e6)

    with patch.object(FakeMember, "control", answer):
        run(hang())
    assert [line.partition("worker[0.0] holds ")[2].partition(" for")[0] for line in said] == [
        "1 work call",
        "1 health call",
    ]


def test_nothing_is_said_where_calls_end_or_the_watchdog_is_off() -> None:
    said: list[str] = []

    async def work(quiet_s: float, seconds: float) -> None:
        pool, _ = await started(replace(LIMITS, deadline_s=1e4, capacity=1))
        look, clock = lambda: Snapshot(1, {}, {}, (pool.state(),)), asyncio.get_running_loop().time
        async with alive(said.append, Watchdog(look, quiet_s, clock).line):
            for _ in range(10):
                await pool.call("work", seconds)
        await pool.close()

    run(work(QUIET_S, QUIET_S - 5))
    run(work(0.0, 10 * QUIET_S))
    assert said == []
    run(work(QUIET_S, QUIET_S + 5))
    assert len(said) == 10


def test_a_learner_that_hangs_in_an_update_is_the_stage_update(tmp_path: Path) -> None:
    async def hang() -> str:
        training = Run(tmp_path)

        async def update(batch: object) -> dict[str, float]:
            await asyncio.sleep(1e4)
            return {}

        training.learner.update = update  # type: ignore[assignment]
        work = asyncio.ensure_future(training.loop.train())
        await asyncio.sleep(100.0)
        at = snapshot(training.loop, ())
        work.cancel()
        await asyncio.wait([work])
        training.tracker.close()
        assert training.loop.stages.under_way == {}
        return describe(at, 100.0, QUIET_S)

    assert run(hang()) == ("nothing has progressed for 60 s: step 1 is in update for 100 s; 2 groups training")
