"""Rates of what goes through the planner-executor system."""

from __future__ import annotations

import asyncio

from tracelift_ray.rl.throughput import Throughput
from tracelift_ray.simulation.clock import SimulatedLoop
from tracelift_ray.types import Completion


def test_rates_cover_the_time_since_the_last_reading() -> None:
    async def run() -> list[dict[str, float]]:
        counted, read = Throughput(), []
        read.append(counted.read())
        counted.generated("executor", [Completion((1, 2, 3), "", "stop"), Completion((1,), "", "length")])
        counted.count("verifier_runs", 2)
        await asyncio.sleep(2.0)
        read.append(counted.read())
        await asyncio.sleep(4.0)
        read.append(counted.read())
        return read

    loop = SimulatedLoop("one")
    first, second, third = loop.run_until_complete(run())
    loop.close()
    names = ("rates/executor_prompts_per_s", "rates/executor_tokens_per_s", "rates/verifier_runs_per_s")
    assert first == {} and [second[name] for name in names] == [0.5, 2.0, 1.0]
    assert third == dict.fromkeys(names, 0.0)
