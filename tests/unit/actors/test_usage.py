"""What members tell of the processes of a run, and that asking them is no progress of it."""

from __future__ import annotations

import asyncio

import pytest

from actors import usage as module
from actors.usage import UsageWatch
from tests.unit.pools.members import LIMITS, FakeMember
from tracelift_ray.pools.pool import Pool
from tracelift_ray.usage import Usage


class Telling(FakeMember):
    asked = 0

    async def usage(self) -> Usage:
        type(self).asked += 1
        return Usage("node", 1.0 + self.index, 200.0, 10.0, 20.0)


async def test_members_are_asked_again_and_again_and_a_silent_one_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.05)
    monkeypatch.setattr("tracelift_ray.pools.pool.CLOSE_S", 0.1)  # which the silent one would use up
    made: list[Telling] = []
    pool = Pool("worker", LIMITS, lambda index, restart: made.append(Telling(index, restart)) or made[-1])
    await pool.start()
    before = pool.state().ended
    watch = UsageWatch(lambda: [pool], None, 0.01)
    watching = asyncio.ensure_future(watch.run())
    while "processes/worker/1/cpu_cores" not in watch.metrics():
        await asyncio.sleep(0.01)
    found = watch.metrics()
    assert (found["processes/worker/0/cpu_cores"], found["processes/worker/1/cpu_cores"]) == (1.0, 2.0)
    assert found["processes/driver/rss_mib"] > 0 and found["nodes/node/memory_percent"] == 20.0
    made[1].stopped = True
    while "processes/worker/1/cpu_cores" in watch.metrics():
        await asyncio.sleep(0.01)
    assert "processes/worker/0/cpu_cores" in watch.metrics() and len(pool.members) == 2
    assert (pool.state().held, pool.state().ended) == (
        (),
        before,
    ) and Telling.asked > 2  # a watchdog sees no progress in it
    watching.cancel()
    await pool.close()


class Scoring(FakeMember):
    """Scores four traces at first, then two, then none."""

    asked = 0

    async def usage(self) -> Usage:
        self.asked += 1
        traces = {1: 4.0, 2: 2.0}.get(self.asked)
        return Usage("node", 1.0, 200.0, 10.0, 20.0, {} if traces is None else {"batch_traces_mean": traces})


async def test_what_was_read_in_a_step_counts_in_its_metrics_and_in_no_others() -> None:
    made: list[Scoring] = []
    pool = Pool("worker", LIMITS, lambda index, restart: made.append(Scoring(index, restart)) or made[-1])
    await pool.start()
    watch = UsageWatch(lambda: [pool], None, 0.01)
    watching = asyncio.ensure_future(watch.run())
    while made[0].asked < 4:
        await asyncio.sleep(0.01)
    assert watch.metrics()["processes/worker/0/batch_traces_mean"] == 3.0
    assert "processes/worker/0/batch_traces_mean" not in watch.metrics()
    watching.cancel()
    await pool.close()
