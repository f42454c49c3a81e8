"""Traces a second that one driver process can carry, when its members answer at once.

The real scheduler, rollout, reward and pools run on the demo's problems; planner, executor, verifier and reasoning RM
are simulated, so that what is measured is the controller alone. ``--ray`` puts the simulated members into Ray actors of
this machine, so that carrying the calls counts too::

    python -m benchmarks.controller [--traces 20000] [--tokens 512] [--ray]
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic, process_time
from typing import Any

import ray

from actors.pool import PoolActor, RayHandle, References, remote_class
from benchmarks.figures import Figure, deliver, parser
from launch.composition import composed
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.data.sources import resolve_sources
from tracelift_ray.demo.source import demo_problems
from tracelift_ray.garbage import settle
from tracelift_ray.planning.run_config import to_run_config
from tracelift_ray.pools.pool import Pool, PoolLimits
from tracelift_ray.rl.assembly import build_rollout, build_scheduler, system_settings
from tracelift_ray.rl.system import PlannerExecutorSystem, SystemPools
from tracelift_ray.types import Artifact, Completion, Problem, Prompt, RubricScore, SamplingParams, Verdict

LIMITS = PoolLimits(workers=4, capacity=256, deadline_s=600.0, retries=2, startup_s=120.0, health_s=30.0)


class Members:
    """Answers at once, as every kind of member: traces of ``tokens`` tokens, every second verdict passed."""

    def __init__(self, tokens: int) -> None:
        self._ids = tuple(20 + place % 100 for place in range(tokens))
        self._logprobs = (-0.5,) * tokens
        self._count = 0

    async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
        if params.logprobs:
            return [Completion(self._ids, "1 + 1 </reasoning>", "stop", self._logprobs)]
        return [Completion(self._ids[:8], "2", "stop")] * params.n

    async def verify(self, problem: Problem, artifacts: Sequence[Artifact]) -> list[Verdict]:
        self._count += 1
        return [Verdict("passed" if (self._count + i) % 2 else "wrong_answer") for i in range(len(artifacts))]

    async def score(self, problem: Problem, reasoning: str) -> RubricScore:
        return RubricScore((3.0,) * 5, 0.7, 0.7)


class InProcess:
    """Members as a pool's handle without Ray."""

    def __init__(self, members: Members) -> None:
        self.members = members

    async def call(self, method: str, *args: Any) -> Any:
        return await getattr(self.members, method)(*args)

    async def control(self, method: str, *args: Any) -> Any:
        return None

    def kill(self) -> None:
        pass

    async def ended(self) -> None:
        pass


class Simulated(PoolActor):
    """The same members in a Ray actor."""

    def __init__(self, tokens: int) -> None:
        self._members = Members(tokens)

    async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
        return await self._members.generate(prompt, params)

    async def verify(self, problem: Problem, artifacts: Sequence[Artifact]) -> list[Verdict]:
        return await self._members.verify(problem, artifacts)

    async def score(self, problem: Problem, reasoning: str) -> RubricScore:
        return await self._members.score(problem, reasoning)


class SimulatedPool:
    """All roles over one real pool. ``of`` is what a call carries of a problem."""

    def __init__(self, pool: Pool, of: Callable[[Problem], Any]) -> None:
        self.pool = pool
        self._of = of

    async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
        return await self.pool.call("generate", prompt, params)

    async def verify(self, problem: Problem, artifacts: Sequence[Artifact]) -> list[Verdict]:
        return await self.pool.call("verify", self._of(problem), artifacts, lane=problem.task)

    async def score(self, problem: Problem, reasoning: str) -> RubricScore:
        return await self.pool.call("score", self._of(problem), reasoning)


def pool(name: str, tokens: int, on_ray: bool) -> SimulatedPool:
    """A pool whose members are in this process, or in Ray actors."""
    if not on_ray:
        return SimulatedPool(Pool(name, LIMITS, lambda index, restart: InProcess(Members(tokens))), lambda each: each)
    actor = remote_class(Simulated)
    return SimulatedPool(
        Pool(name, LIMITS, lambda index, restart: RayHandle(actor.options(num_cpus=0).remote(tokens))), References().of
    )


async def measure(run: RunConfig, traces: int, tokens: int, on_ray: bool) -> tuple[float, float]:
    """Traces per second, and per CPU second of this process."""
    pools = [pool(name, tokens, on_ray) for name in ("planner", "executor", "verifier", "reasoning_rm")]
    await asyncio.gather(*(each.pool.start() for each in pools))
    system = PlannerExecutorSystem(SystemPools(*pools), system_settings(run))
    problems = resolve_sources(run.data, run.seed, demo_problems).train
    scheduler = build_scheduler(run, build_rollout(run, system), problems)

    def ended() -> int:
        return scheduler.ledger.submitted - scheduler.ledger.outstanding

    scheduler.finished(await scheduler.next_batch(0), 0)  # warm: problems are in the object store, actors are up
    settle()
    began, used, before = monotonic(), process_time(), ended()
    while (done := (ended() - before) * run.algorithm.group_size) < traces:
        scheduler.finished(await scheduler.next_batch(0), 0)
    took, used = monotonic() - began, process_time() - used
    await scheduler.stop()
    await asyncio.gather(*(each.pool.close() for each in pools))
    return done / took, done / used


def main() -> None:
    """Measure and print."""
    command = parser(__doc__)
    command.add_argument("--traces", type=int, default=8192)
    command.add_argument("--tokens", type=int, default=512, help="of each trace")
    command.add_argument("--ray", action="store_true", help="members are Ray actors")
    options = command.parse_args()
    overrides = ["experiment=quickstart", "algorithm.groups_per_step=64", "stream.max_staleness=1", "data.limit=500"]
    run = to_run_config(composed("config", overrides))
    if options.ray:
        ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    rate, cpu_rate = asyncio.run(measure(run, options.traces, options.tokens, options.ray))
    where = "in Ray actors" if options.ray else "in this process"
    print(f"members {where}: {rate:,.0f} traces/s, {cpu_rate:,.0f} traces per CPU second of the controller")
    name, note = f"controller, members {where}, traces per CPU second", f"{rate:,.0f} traces/s on the clock"
    deliver(options, [Figure(name, cpu_rate, "traces/s", "higher", note=note)])


if __name__ == "__main__":
    main()
