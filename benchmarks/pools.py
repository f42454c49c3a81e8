"""What a pool does under load: a storm, a slow member, a stopped one, a deep queue, and calls per second.

Members are simulated in this process, so that only the pool's own work and the timing of members are measured::

    python -m benchmarks.pools
"""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass
from time import monotonic, process_time
from typing import Any

from tracelift_ray.errors import ComponentDead, InfrastructureError
from tracelift_ray.pools.pool import Member, Pool, PoolLimits


class Simulated:
    """A member whose calls take their time, ``slowness`` times as long; once stopped it answers nothing."""

    def __init__(self, slowness: float = 1.0) -> None:
        self.slowness = slowness
        self.stopped = False
        self.killed = asyncio.Event()

    async def call(self, method: str, seconds: float) -> float:
        if self.stopped:
            await self.killed.wait()
            raise ComponentDead("simulated", "it was ended")
        if seconds:
            await asyncio.sleep(seconds * self.slowness)
        return seconds

    async def control(self, method: str, *args: Any) -> None:
        if self.stopped:
            await self.killed.wait()
            raise ComponentDead("simulated", "it was ended")

    def kill(self) -> None:
        self.killed.set()

    async def ended(self) -> None:
        pass


@dataclass(frozen=True)
class Outcome:
    """Calls that were asked and done, members that were replaced, calls given up on, and seconds."""

    case: str
    calls: int
    done: int
    failed: int
    replaced: int
    late: int
    seconds: float
    longest_control_s: float
    calls_per_cpu_second: float


async def measure(
    case: str, limits: PoolLimits, calls: int, seconds: float, first: Simulated | None = None, stops: bool = False
) -> Outcome:
    """Ask for ``calls`` at once, with a control call every 50 ms beside them."""

    def spawn(index: int, restart: int) -> Simulated:
        return first if first is not None and index == 0 and restart == 0 else Simulated()

    pool = Pool("simulated", limits, spawn)
    await pool.start()
    if first is not None:
        first.stopped = stops
    waits: list[float] = []

    async def controls(member: Member) -> None:
        while True:
            began = monotonic()
            await pool.control(member, 60.0, "health")
            waits.append(monotonic() - began)
            await asyncio.sleep(0.05)

    beside = asyncio.ensure_future(controls(pool.members[-1]))
    began, used = monotonic(), process_time()
    answers = await asyncio.gather(*(pool.call("work", seconds) for _ in range(calls)), return_exceptions=True)
    took, used = monotonic() - began, process_time() - used
    beside.cancel()
    failed = sum(isinstance(answer, InfrastructureError) for answer in answers)
    result = Outcome(
        case, calls, calls - failed, failed, pool.restarts, pool.late, took, max(waits, default=0.0), calls / used
    )
    await pool.close()
    return result


async def run() -> list[Outcome]:
    """Every case, one after the other."""
    small = PoolLimits(workers=2, capacity=8, deadline_s=3.0, retries=2, startup_s=30.0, health_s=1.0)
    wide = PoolLimits(workers=16, capacity=64, deadline_s=60.0, retries=2, startup_s=30.0, health_s=1.0)
    return [
        await measure("storm: 20 s of work for each member, deadline 3 s", small, 320, 1.0),
        await measure("a member that is five times as slow", small, 160, 0.5, Simulated(slowness=5.0)),
        await measure("a stopped member", small, 160, 0.5, Simulated(), stops=True),
        await measure("10,000 queued calls", small, 10_000, 0.005),
        await measure("100,000 calls that take no time", wide, 100_000, 0.0),
    ]


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for each in asyncio.run(run()):
        print(
            f"{each.case}: {each.done:,} of {each.calls:,} done in {each.seconds:.1f} s, {each.late} late, "
            f"{each.replaced} members replaced, control calls within {each.longest_control_s * 1000:.0f} ms, "
            f"{each.calls_per_cpu_second:,.0f} calls/CPU-s"
        )


if __name__ == "__main__":
    main()
