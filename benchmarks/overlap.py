"""Asynchronous against synchronous training of the demo, generation and training each on a core of its own.

    python -m benchmarks.overlap [--rounds 2] [--within SECONDS] [--steps 3]

Both take turns on the same actors: a stream of ``--steps`` steps on-policy, then one with ``stream=asynchronous``, each
after a step to warm up. The learner's processes are held on one core and those of all other pools on the rest, since
pools that may run on every core leave none idle while the learner waits.
"""

from __future__ import annotations

import asyncio
import os
import statistics
from collections.abc import Collection, Iterable
from dataclasses import replace
from time import monotonic

import psutil

from actors.system import RaySystem
from benchmarks.figures import deliver, median, parser, turns
from benchmarks.systems import configured, running
from tracelift_ray.config.schema import RunConfig, StreamConfig
from tracelift_ray.rl.assembly import build_rollout, build_sampler
from tracelift_ray.rl.batch import train_batch
from tracelift_ray.rl.preparation import Preparation
from tracelift_ray.rl.scheduler import Scheduler
from tracelift_ray.rl.system import PlannerExecutorSystem
from tracelift_ray.rl.weights import broadcast_weights

STALENESS = {"synchronous": 0, "asynchronous": 2}


def hold_apart() -> str:
    """Hold the learner's processes on the last core and the other pools' on the rest; says how that is."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return "one core for all"
    for process in psutil.Process().children(recursive=True):
        name = " ".join(process.cmdline())
        if "ray::" in name and "Actor" in name:
            _hold(process.pid, cores[-1:] if "LearnerActor" in name else cores[:-1])
    return f"the learner on 1 core, the other pools on {len(cores) - 1}"


def _hold(pid: int, cores: Collection[int]) -> None:
    """Every thread of a process, and with it its children to come, on these cores."""
    members = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for thread in [each.id for member in members for each in member.threads()]:
        os.sched_setaffinity(thread, cores)


async def timed_steps(
    run: RunConfig, system: RaySystem, prepared: Preparation, stream: StreamConfig, version: int, steps: int
) -> tuple[int, float]:
    """The version after a stream of ``steps`` steps, and the seconds of one at the median; the first is left out."""
    learner, took = system.learner, []
    assert learner is not None
    rollout = build_rollout(run, PlannerExecutorSystem(system.pools, prepared.settings))
    scheduler = Scheduler(rollout, build_sampler(run, prepared.train, prepared.mixture), stream, run.algorithm)
    began = monotonic()
    for _ in range(steps + 1):
        batch = await scheduler.next_batch(version)
        await learner.update(train_batch((*batch.groups, *batch.zero_signal), train_overlong=True))
        version = (await broadcast_weights(learner, system.planner)).version
        scheduler.finished(batch, version)
        took.append(monotonic() - began)
        began = monotonic()
    await scheduler.stop()
    return version, statistics.median(took[1:])


async def measure(rounds: Iterable[int], steps: int) -> tuple[dict[str, list[float]], str]:
    """Seconds of a step of each kind, one for each round; and how the cores are shared."""
    times: dict[str, list[float]] = {kind: [] for kind in STALENESS}
    with configured("", ["learner.cpus_per_worker=1"]) as run:
        async with running(run, trains=True) as (system, prepared):
            assert system.learner is not None
            version = (await broadcast_weights(system.learner, system.planner)).version
            cores = hold_apart()
            for number in rounds:
                for kind, staleness in STALENESS.items():
                    stream = replace(run.stream, max_staleness=staleness)
                    version, took = await timed_steps(run, system, prepared, stream, version, steps)
                    times[kind].append(took)
                    print(f"round {number}: {kind} {took:.2f} s", flush=True)
    return times, cores


def main() -> None:
    """Measure and print."""
    command = parser(__doc__, rounds=2)
    command.add_argument("--steps", type=int, default=3, help="of each stream in a round, after one to warm up")
    options = command.parse_args()
    times, cores = asyncio.run(measure(turns(options, first=1), options.steps))
    waiting, ahead = times.values()
    ratios = [one / other for one, other in zip(waiting, ahead, strict=True)]
    note = f"{cores}; {statistics.median(waiting):.2f} s and {statistics.median(ahead):.2f} s"
    name = "demo, synchronous / asynchronous step"
    deliver(options, [median(name, ratios, "ratio", "higher", note=note)])


if __name__ == "__main__":
    main()
