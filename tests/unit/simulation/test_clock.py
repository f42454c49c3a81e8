"""The simulated loop: virtual time, a schedule of the seed, and a name for what waits in vain."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from time import monotonic
from typing import Any

import pytest

from tracelift_ray.simulation.clock import Deadlock, SimulatedLoop


def run(work: Coroutine[Any, Any, Any], seed: str = "0") -> Any:
    loop = SimulatedLoop(seed)
    try:
        return loop.run_until_complete(work)
    finally:
        loop.abandon()


async def order(count: int) -> list[int]:
    seen: list[int] = []

    async def step(number: int) -> None:
        await asyncio.sleep(1.0)
        seen.append(number)

    await asyncio.gather(*(step(number) for number in range(count)))
    return seen


def test_a_day_passes_at_once_and_timers_keep_their_order() -> None:
    async def day() -> list[float]:
        clock, times = asyncio.get_running_loop().time, []
        for hours in (1, 23):
            await asyncio.sleep(hours * 3600)
            times.append(clock())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 5.0)
        return [*times, clock()]

    began = monotonic()
    assert run(day()) == [3600.0, 86400.0, 86405.0]
    assert monotonic() - began < 60.0


def test_a_seed_gives_one_order_and_another_seed_another() -> None:
    orders = {seed: run(order(20), seed) for seed in ("0", "1")}
    assert sorted(orders["0"]) == list(range(20)) and orders["0"] != orders["1"]
    assert all(run(order(20), seed) == seen for seed, seen in orders.items())


def test_a_wait_that_nothing_can_end_is_named() -> None:
    async def lost() -> None:
        await asyncio.create_task(forever(), name="group-7")

    async def forever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock, match=r"group-7 \(forever"):
        run(lost())


def test_the_work_of_a_thread_is_done_at_once_in_this_one() -> None:
    def refused() -> None:
        raise OSError("full")

    async def work() -> tuple[int, float]:
        with pytest.raises(OSError, match="full"):
            await asyncio.to_thread(refused)
        return await asyncio.to_thread(threading.get_ident), asyncio.get_running_loop().time()

    assert run(work()) == (threading.get_ident(), 0.0)
