"""How fast a run would be with given pools and latencies: the real stream on a virtual clock, over modelled engines.

What is modelled is time alone: engines that share their speed among the requests that they hold, a learner that takes
its time for each token, weights that pause generation. What is real is the order of things: admission, staleness,
batches and their account are the scheduler's. One random stream per cause makes equal pools see equal traces.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from math import exp, inf, log
from random import Random

from tracelift_ray.config.rules import Count, NotNegative, Positive, PositiveCount
from tracelift_ray.config.schema import AlgorithmConfig, StreamConfig
from tracelift_ray.data.sampler import ProblemSampler
from tracelift_ray.rl.scheduler import GroupBatch, Scheduler
from tracelift_ray.rl.tickets import Ticket
from tracelift_ray.simulation.clock import SimulatedLoop
from tracelift_ray.simulation.engines import Engines, Speed
from tracelift_ray.tasks.math import MATH
from tracelift_ray.types import Completion, Group, Problem, Trace, Trajectory

PROBLEMS = 4096


@dataclass(frozen=True)
class Lengths:
    """Tokens of a completion, log-normal and cut: ``mean`` before the cut, ``spread`` of the logarithm, ``most``."""

    mean: Positive
    spread: NotNegative
    most: PositiveCount

    def draw(self, random: Random) -> int:
        """One of them, at least 1."""
        centre = log(self.mean) - self.spread**2 / 2
        return max(1, min(self.most, round(exp(random.gauss(centre, self.spread)))))


@dataclass(frozen=True)
class Workload:
    """What a run does to its pools.

    Attributes:
        traces, artifacts: tokens of the planner's and of the executor's completions.
        samples: executor samples of a trace, from one request.
        baseline: executor samples of a group without a trace.
        planner, executor: speed of one engine.
        score_s: the reasoning RM's seconds for one trace, of a member that takes them in turn.
        train_token_s: GPU seconds of the learner for one token, prompts included; it divides evenly over its GPUs.
        prompt: tokens of a prompt.
        broadcast_s: seconds of a weight broadcast, in which the planner pauses.
    """

    traces: Lengths
    artifacts: Lengths
    samples: Count
    baseline: Count
    planner: Speed
    executor: Speed
    score_s: NotNegative
    train_token_s: Positive
    prompt: Count
    broadcast_s: NotNegative


@dataclass(frozen=True)
class Split:
    """Engines of each pool, and GPUs of the learner. ``shared``: the pools sleep on the learner's GPUs while it works,
    so that the same GPUs count for both."""

    planner: int
    executor: int
    reasoning_rm: int
    learner: int
    shared: bool = False


@dataclass(frozen=True)
class Forecast:
    """What a run would do.

    Attributes:
        step_s: mean seconds of a step, the first left out.
        traces_per_s: trained on.
        busy: by pool, the share of its slots' time that it worked; of the learner, of the time.
        staleness: mean versions that trained groups were behind.
        dropped: groups that were too stale.
        waiting: by pool, mean requests in its queue.
    """

    step_s: float
    traces_per_s: float
    busy: dict[str, float]
    staleness: float
    dropped: int
    waiting: dict[str, float]

    @property
    def bottleneck(self) -> str:
        """What works most of the time."""
        return max(self.busy, key=lambda name: self.busy[name])


class _Groups:
    """Runs groups over modelled pools; implements ``rl.scheduler.RunsGroups``."""

    def __init__(self, work: Workload, split: Split, group_size: int, version: Callable[[], int]) -> None:
        self.work = work
        self.planner = Engines(split.planner, work.planner)
        self.executor = Engines(split.executor, work.executor)
        self.scorer = Engines(split.reasoning_rm, Speed(1.0, 1.0, 1))
        self.tokens: dict[int, int] = {}
        self._group_size = group_size
        self._version = version
        self._random = Random("capacity")

    async def run(self, ticket: Ticket) -> Group:
        lengths = [self.work.traces.draw(self._random) for _ in range(self._group_size)]
        self.tokens[ticket.serial] = sum(lengths) + self.work.prompt * self._group_size
        parts = [self._trace(ticket, index, length) for index, length in enumerate(lengths)]
        *trajectories, _ = await asyncio.gather(*parts, self._execute(self.work.baseline))
        return Group(ticket.serial, ticket.problem, ticket.submitted_version, tuple(trajectories))  # type: ignore[arg-type]

    async def _trace(self, ticket: Ticket, index: int, length: int) -> Trajectory:
        await self.planner.generate(length)
        version = ticket.submitted_version
        await asyncio.gather(self._execute(self.work.samples), self._score())
        completion = Completion((), "", "stop", (), version, self._version())
        trace = Trace(ticket.problem.id, index, (), completion, "")
        return Trajectory(trace, reward=float(index % 2))  # every group has signal

    async def _execute(self, samples: int) -> None:
        if samples:
            await self.executor.generate(self.work.artifacts.draw(self._random), samples)

    async def _score(self) -> None:
        if self.work.score_s > 0:
            await self.scorer.generate(self.work.score_s)  # type: ignore[arg-type]


def forecast(work: Workload, split: Split, algorithm: AlgorithmConfig, stream: StreamConfig, steps: int) -> Forecast:
    """What a run of ``steps`` steps, two or more, would do; the first fills the pools and is left out of the means."""
    loop = SimulatedLoop("capacity", shuffled=False)
    try:
        return loop.run_until_complete(_run(work, split, algorithm, stream, steps))
    finally:
        loop.abandon()


async def _run(work: Workload, split: Split, algorithm: AlgorithmConfig, stream: StreamConfig, steps: int) -> Forecast:
    clock = asyncio.get_running_loop().time
    version = 0
    groups = _Groups(work, split, algorithm.group_size, lambda: version)
    problems = [Problem(f"p{i}", MATH, "", answer="") for i in range(PROBLEMS)]
    scheduler = Scheduler(groups, ProblemSampler(problems, 0), stream, algorithm)
    pools = {"planner": groups.planner, "executor": groups.executor, "reasoning_rm": groups.scorer}
    learner_s, stale, dropped, began = 0.0, list[int](), 0, inf
    worked, queued = dict.fromkeys(pools, 0.0), dict.fromkeys(pools, 0.0)
    for step in range(steps):
        batch = await scheduler.next_batch(version)
        seconds = work.train_token_s * _tokens(groups, batch) / split.learner
        await asyncio.sleep(seconds)
        version += algorithm.updates_per_batch
        groups.planner.pause(True)
        await asyncio.sleep(work.broadcast_s)
        groups.planner.pause(False)
        if step:
            learner_s += seconds
            dropped += batch.dropped
            stale += [version - algorithm.updates_per_batch - each.group.oldest_version for each in batch.groups]
        scheduler.finished(batch, version)
        if not step:
            began = clock()
            worked = {name: pool.worked_s for name, pool in pools.items()}
            queued = {name: pool.queued_s for name, pool in pools.items()}
    took = clock() - began
    await scheduler.stop()
    traces = (steps - 1) * algorithm.groups_per_step * algorithm.group_size
    members = {"planner": split.planner, "executor": split.executor, "reasoning_rm": split.reasoning_rm}
    busy = {
        name: (pool.worked_s - worked[name]) / (took * members[name] * pool.speed.slots) for name, pool in pools.items()
    }
    return Forecast(
        step_s=took / (steps - 1),
        traces_per_s=traces / took,
        busy=busy | {"learner": learner_s / took},
        staleness=sum(stale) / len(stale) if stale else 0.0,
        dropped=dropped,
        waiting={name: (pool.queued_s - queued[name]) / took for name, pool in pools.items()},
    )


def _tokens(groups: _Groups, batch: GroupBatch) -> int:
    """Tokens that the learner trains on; they are then forgotten, those of replaced groups with them."""
    trained = sum(groups.tokens.pop(each.group.serial) for each in batch.groups)
    for each in (*batch.zero_signal, *batch.replaced):
        groups.tokens.pop(each.group.serial, None)
    return trained
