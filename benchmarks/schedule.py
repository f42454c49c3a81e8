"""Traces per second of a rollout against the schedule of the released trainer, on the same engines.

    python -m benchmarks.schedule [--rounds 4] [--within SECONDS]

Ours is one step's groups, all traces on their own way at once. The other side does as the released trainer does: the
traces of a batch are drawn together, then each is taken in turn, with one call at a time: a fresh executor sample, K
with the trace, K without it, and after all of them the reasoning RM's scores. Both sides take turns on the demo's
engines, with the same problems; the released schedule gets fewer groups, as it takes that much longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from time import monotonic

from benchmarks.figures import Figure, deliver, median, parser, turns
from benchmarks.systems import configured, running
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.rl.assembly import build_rollout
from tracelift_ray.rl.rollout import Rollout, Ticket
from tracelift_ray.rl.system import PlannerExecutorSystem
from tracelift_ray.types import Problem

GOAL = 10.0
#: Groups of a batch of the released trainer, as the paper's code runs have them.
RELEASED_GROUPS = 2


async def ours(run: RunConfig, rollout: Rollout, problems: list[Problem], epoch: int) -> float:
    """Traces per second of a step's groups."""
    began = monotonic()
    groups = await asyncio.gather(*(rollout.run(Ticket(i, epoch, each, 0)) for i, each in enumerate(problems)))
    return sum(len(group.trajectories) for group in groups) / (monotonic() - began)


async def released(run: RunConfig, system: PlannerExecutorSystem, problems: list[Problem], epoch: int) -> float:
    """Traces per second where everything but the drawing of traces is one call after the other."""
    began, samples = monotonic(), run.reward.num_samples
    keys = [(each, (each.id, epoch), i) for each in problems for i in range(run.algorithm.group_size)]
    traces = await asyncio.gather(*(system.trace(each, i, key) for each, key, i in keys))
    whole = [(each, key, i, trace.reasoning or "-") for (each, key, i), trace in zip(keys, traces, strict=True)]
    for each, key, i, reasoning in whole:
        await system.execute(each, reasoning, 1, (*key, i, "fresh"))
        for sample in range(samples):
            await system.execute(each, reasoning, 1, (*key, i, "with", sample))
        for sample in range(samples):
            await system.execute(each, None, 1, (*key, i, "without", sample))
    for each, _, _, reasoning in whole:
        await system.score(each, reasoning)
    return len(keys) / (monotonic() - began)


async def measure(rounds: Iterable[int]) -> tuple[list[float], list[float]]:
    """Traces per second of both sides, round by round from 1 on; round 0 warms up."""
    rates: tuple[list[float], list[float]] = [], []
    with configured("") as run:
        async with running(run, trains=False) as (system, prepared):
            executing = PlannerExecutorSystem(system.pools, prepared.settings)
            rollout, size = build_rollout(run, executing), run.algorithm.groups_per_step
            for number in rounds:
                chosen = list(prepared.train[number * size : (number + 1) * size])
                # The problems of the shorter side are spread over the longer one's, for both have tasks in turn.
                fewer = chosen[:: max(1, size // RELEASED_GROUPS)][:RELEASED_GROUPS]
                ran = await ours(run, rollout, chosen, number), await released(run, executing, fewer, number)
                print(f"round {number}: ours {ran[0]:.1f} traces/s, released schedule {ran[1]:.2f}", flush=True)
                if number:
                    for kept, rate in zip(rates, ran, strict=True):
                        kept.append(rate)
    return rates


def figures(rounds: Iterable[int]) -> list[Figure]:
    """The ratio of the rates, and ours."""
    fast, slow = asyncio.run(measure(rounds))
    ratios = [ours / theirs for ours, theirs in zip(fast, slow, strict=True)]
    return [
        median("demo, traces/s of a rollout / released schedule", ratios, "ratio", "higher", goal=GOAL),
        median("demo, traces/s of a rollout", fast, "traces/s", "higher"),
    ]


def main() -> None:
    """Measure and print."""
    command = parser(__doc__, rounds=4)
    options = command.parse_args()
    deliver(options, figures(turns(options)))


if __name__ == "__main__":
    main()
