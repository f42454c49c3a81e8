"""What is said of a pool's calls: waits, times at members, the queue's length and idle time."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.pools.members import started
from tracelift_ray.pools.meter import KEPT, Meter
from tracelift_ray.simulation.clock import SimulatedLoop


def test_a_reading_has_the_percentiles_of_its_own_calls() -> None:
    meter = Meter()
    for second in range(1, 101):
        meter.joined(0.0)
        meter.admitted(float(second))
        meter.left(2.0 * second, 300.0)
    found = meter.read(300.0)
    assert (found["queue_p50_s"], found["queue_p95_s"]) == (50.0, 95.0)
    assert (found["call_p50_s"], found["call_p95_s"]) == (100.0, 190.0)
    assert found["calls_per_s"] == pytest.approx(1 / 3) and found["queued_mean"] == pytest.approx(5050 / 300)
    assert meter.read(400.0) == {"calls_per_s": 0.0, "queued_mean": 0.0, "idle": 1.0}


def test_idle_is_the_time_without_any_call_also_across_readings() -> None:
    meter = Meter()
    assert meter.read(0.0) == {}
    meter.joined(2.0)
    meter.joined(3.0)
    meter.admitted(0.0)
    meter.left(1.0, 4.0)
    meter.gave_up(3.0, 6.0)
    assert meter.read(10.0)["idle"] == pytest.approx(0.6)
    meter.joined(15.0)
    assert meter.read(20.0)["idle"] == pytest.approx(0.5)
    assert meter.read(30.0)["idle"] == 0.0


def test_a_meter_keeps_a_bounded_number_of_calls() -> None:
    meter = Meter()
    for _ in range(KEPT + 10):
        meter.joined(0.0)
        meter.admitted(1.0)
        meter.left(1.0, 1.0)
    assert len(meter._queue) == len(meter._work) == KEPT
    assert meter.read(2.0)["calls_per_s"] == (KEPT + 10) / 2


def test_a_pool_tells_waiting_from_work_and_forgets_calls_that_were_given_up() -> None:
    async def run() -> dict[str, float]:
        pool, _ = await started()  # two members with four places
        pool.metrics()
        await asyncio.gather(*(pool.call("work", 1.0) for _ in range(16)))
        late = [asyncio.ensure_future(pool.call("work", 1.0)) for _ in range(9)]
        await asyncio.sleep(0.5)
        for each in late:
            each.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        await asyncio.sleep(2.5)
        found = pool.metrics()
        await pool.close()
        return found

    loop = SimulatedLoop("one", shuffled=False)
    found = loop.run_until_complete(run())
    loop.close()
    assert (found["pools/worker/queue_p50_s"], found["pools/worker/queue_p95_s"]) == (0.0, 1.0)
    assert found["pools/worker/call_p50_s"] == found["pools/worker/call_p95_s"] == 1.0
    assert found["pools/worker/idle"] == pytest.approx(0.5)
    assert found["pools/worker/queued_mean"] == pytest.approx((8 * 1.0 + 0.5) / 5)
