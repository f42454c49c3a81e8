"""How fast a run would be with given pools and latencies: the real stream on a virtual clock, over modelled engines.

What is modelled is time alone: engines that share their speed among the requests that they hold, a learner that takes
its time for each token, weights that pause generation. What is real is the order of things: admission, staleness,
batches and their account are the scheduler's. Each group has a random stream, so all splits see equal traces.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cache, partial
from math import inf
from random import Random

from tracelift_ray import garbage
from tracelift_ray.config.schema import AlgorithmConfig, StreamConfig
from tracelift_ray.data.sampler import ProblemSampler
from tracelift_ray.rl.scheduler import GroupBatch, Scheduler
from tracelift_ray.rl.tickets import Ticket
from tracelift_ray.simulation.engines import EngineLoop, Engines, InTurn
from tracelift_ray.simulation.workload import Split, Workload
from tracelift_ray.tasks.math import MATH
from tracelift_ray.types import Completion, Group, Problem, Trace, Trajectory

PROBLEMS = 64


@dataclass(frozen=True)
class Forecast:
    """What a run would do.

    Attributes:
        step_s: mean seconds of a step, the first left out.
        traces_per_s: trained on.
        busy: by pool, the share of what it could make with full slots; of the learner, of the time.
        staleness: mean versions that trained groups were behind.
        dropped: groups that were too stale.
        waiting: by pool, mean requests in its queue; of the learner, mean groups that are ready.
        simulated_s: seconds of the run, the first step with them.
    """

    step_s: float
    traces_per_s: float
    busy: dict[str, float]
    staleness: float
    dropped: int
    waiting: dict[str, float]
    simulated_s: float


class _Groups:
    """Runs groups over modelled pools; implements ``rl.scheduler.RunsGroups``."""

    def __init__(self, loop: EngineLoop, work: Workload, split: Split, group_size: int) -> None:
        self.work = work
        self.planner = Engines(loop, split.planner, work.planner)
        self.executor = Engines(loop, split.executor, work.executor)
        self.scorer = InTurn(loop, split.reasoning_rm)
        self.verifier = InTurn(loop, work.verifiers)
        self.pools: dict[str, Engines | InTurn] = {
            "planner": self.planner, "executor": self.executor, "reasoning_rm": self.scorer
        }  # fmt: skip
        if work.verify_s.takes_time:
            self.pools["verifier"] = self.verifier
        self.tokens: dict[int, int] = {}
        self.ready_at: dict[int, float] = {}
        self._loop = loop
        self._group_size = group_size

    async def run(self, ticket: Ticket) -> Group:
        group = _InFlight(self, Random(ticket.serial), self._group_size, self._loop.create_future())
        self.tokens[ticket.serial] = group.tokens
        await group.done
        self.ready_at[ticket.serial] = self._loop.now
        return Group(ticket.serial, ticket.problem, ticket.submitted_version, _with_signal(ticket.submitted_version))


class _InFlight:
    """The requests of one group; ``done`` when none is left.

    All that is random is drawn before the first request, in one order, so that the pools have no part in it.
    """

    __slots__ = ("_left", "_pools", "done", "tokens")

    def __init__(self, pools: _Groups, random: Random, size: int, done: asyncio.Future[None]) -> None:
        work = pools.work
        lengths = [work.traces.draw(random) for _ in range(size)]
        artifacts = [work.artifacts.draw(random) for _ in range(size + 1)]
        verify = [work.verify_s.draw(random, samples) for samples in (*[work.samples] * size, work.baseline)]
        score = [work.score_s.draw(random) for _ in range(size)]
        self.tokens = sum(lengths) + work.prompt * size
        self.done = done
        self._pools = pools
        self._left = size
        for each in zip(lengths, artifacts, verify, score, strict=False):  # the last artifact is the baseline's
            pools.planner.generate(each[0], 1, partial(self._traced, *each[1:]))
        self._execute(artifacts[-1], work.baseline, verify[-1])

    def _traced(self, artifact: int, verify_s: float, score_s: float) -> None:
        """A trace is there: it is executed and scored."""
        self._execute(artifact, self._pools.work.samples, verify_s)
        if score_s > 0:
            self._left += 1
            self._pools.scorer.take(score_s, self._end)
        self._end()

    def _execute(self, artifact: int, samples: int, verify_s: float) -> None:
        if samples:
            self._left += 1
            after = partial(self._verify, verify_s) if verify_s > 0 else self._end
            self._pools.executor.generate(artifact, samples, after)

    def _verify(self, seconds: float) -> None:
        self._pools.verifier.take(seconds, self._end)

    def _end(self) -> None:
        self._left -= 1
        if not self._left and not self.done.done():
            self.done.set_result(None)


@cache
def _with_signal(version: int) -> tuple[Trajectory, ...]:
    """Two traces for all of a group: what the scheduler reads is their version, and that rewards differ."""
    completion = Completion((), "", "stop", (), version, version)
    return tuple(Trajectory(Trace("", index, (), completion, ""), reward=float(index)) for index in range(2))


@cache
def _problems() -> tuple[Problem, ...]:
    """Which problem a group has makes no difference to its time."""
    return tuple(Problem(f"p{i}", MATH, "", answer="") for i in range(PROBLEMS))


def forecast(work: Workload, split: Split, algorithm: AlgorithmConfig, stream: StreamConfig, steps: int) -> Forecast:
    """What a run of ``steps`` steps, two or more, would do; the first fills the pools and is left out of the means."""
    loop = EngineLoop()
    with garbage.held_off():  # collections would walk over all requests in flight
        try:
            return loop.run_until_complete(_run(loop, work, split, algorithm, stream, steps))
        finally:
            loop.abandon()


async def _run(
    loop: EngineLoop, work: Workload, split: Split, algorithm: AlgorithmConfig, stream: StreamConfig, steps: int
) -> Forecast:
    version, broadcasts = 0, Random("broadcasts")
    groups = _Groups(loop, work, split, algorithm.group_size)
    scheduler = Scheduler(groups, ProblemSampler(_problems(), 0), stream, algorithm)
    learner_s, ready_s, stale, dropped, began = 0.0, 0.0, list[int](), 0, inf
    before = dict[str, tuple[float, float]]()
    for step in range(steps):
        batch = await scheduler.next_batch(version)
        ready = sum(loop.now - groups.ready_at.pop(each.group.serial) for each in batch.groups)
        seconds = work.update_s + work.train_token_s * _tokens(groups, batch) / split.learner
        await asyncio.sleep(seconds)
        version += algorithm.updates_per_batch
        groups.planner.pause(True)
        await asyncio.sleep(work.broadcast_s.draw(broadcasts))
        groups.planner.pause(False)
        if step:
            learner_s += seconds
            ready_s += ready
            dropped += batch.dropped
            stale += [version - algorithm.updates_per_batch - each.group.oldest_version for each in batch.groups]
        scheduler.finished(batch, version)
        if not step:
            began = loop.now
            before = {name: (pool.made, pool.queued_s) for name, pool in groups.pools.items()}
    took = loop.now - began
    await scheduler.stop()
    traces = (steps - 1) * algorithm.groups_per_step * algorithm.group_size
    busy = {name: (pool.made - before[name][0]) / (took * pool.most_per_s) for name, pool in groups.pools.items()}
    waiting = {name: (pool.queued_s - before[name][1]) / took for name, pool in groups.pools.items()}
    return Forecast(
        step_s=took / (steps - 1),
        traces_per_s=traces / took,
        busy=busy | {"learner": learner_s / took},
        staleness=sum(stale) / len(stale) if stale else 0.0,
        dropped=dropped,
        waiting=waiting | {"learner": ready_s / took},
        simulated_s=loop.now,
    )


def _tokens(groups: _Groups, batch: GroupBatch) -> int:
    """Tokens that the learner trains on."""
    return sum(groups.tokens.pop(each.group.serial) for each in batch.groups)
