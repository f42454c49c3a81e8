"""How fast a run would be with given pools and latencies: the real stream on a virtual clock, over modelled engines.

What is modelled is time alone: engines that share their speed among the requests that they hold, a learner that takes
its time for each token, weights that pause generation. What is real is the order of things: admission, staleness,
batches and their account are the scheduler's. Each group has a random stream, so all splits see equal traces.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import exp, inf, log
from random import Random

from tracelift_ray.config.rules import Count, NotNegative, Positive, PositiveCount
from tracelift_ray.config.schema import AlgorithmConfig, StreamConfig
from tracelift_ray.data.sampler import ProblemSampler
from tracelift_ray.rl.scheduler import GroupBatch, Scheduler
from tracelift_ray.rl.tickets import Ticket
from tracelift_ray.simulation.engines import EngineLoop, Engines, Speed
from tracelift_ray.tasks.math import MATH
from tracelift_ray.types import Completion, Group, Problem, Trace, Trajectory

PROBLEMS = 4096
#: A member that takes one request at a time; what it is given are seconds.
IN_TURN = Speed(1.0, 0.0, 1)


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
        verify_s: seconds of a core for one artifact; 0 leaves verification out.
        verifiers: cores that verify.
        train_token_s: GPU seconds of the learner for one token, prompts included; it divides evenly over its GPUs.
        update_s: seconds of each update that more GPUs do not shorten.
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
    verify_s: NotNegative
    verifiers: PositiveCount
    train_token_s: Positive
    update_s: NotNegative
    prompt: Count
    broadcast_s: NotNegative


@dataclass(frozen=True)
class Split:
    """Engines of each pool, and GPUs of the learner."""

    planner: int
    executor: int
    reasoning_rm: int
    learner: int

    def __str__(self) -> str:
        return f"planner {self.planner} executor {self.executor} RM {self.reasoning_rm} learner {self.learner}"


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
        self.scorer = Engines(loop, split.reasoning_rm, IN_TURN)
        self.verifier = Engines(loop, work.verifiers, IN_TURN)
        self.pools = {"planner": self.planner, "executor": self.executor, "reasoning_rm": self.scorer}
        if work.verify_s > 0:
            self.pools["verifier"] = self.verifier
        self.tokens: dict[int, int] = {}
        self.ready_at: dict[int, float] = {}
        self._loop = loop
        self._group_size = group_size

    async def run(self, ticket: Ticket) -> Group:
        work, random = self.work, Random(ticket.serial)
        lengths = [work.traces.draw(random) for _ in range(self._group_size)]
        self.tokens[ticket.serial] = sum(lengths) + work.prompt * self._group_size
        group = _Parts(self._loop)
        for length in lengths:
            after = partial(self._reward, group, work.artifacts.draw(random))
            self.planner.generate(length, 1, group.part(after))
        self._execute(group, work.artifacts.draw(random), work.baseline)
        await group.done
        self.ready_at[ticket.serial] = self._loop.time()
        return Group(ticket.serial, ticket.problem, ticket.submitted_version, _with_signal(ticket))

    def _reward(self, group: _Parts, artifact: int) -> None:
        self._execute(group, artifact, self.work.samples)
        if self.work.score_s > 0:
            self.scorer.generate(self.work.score_s, 1, group.part())

    def _execute(self, group: _Parts, artifact: int, samples: int) -> None:
        if samples:
            self.executor.generate(artifact, samples, group.part(partial(self._verify, group, samples)))

    def _verify(self, group: _Parts, samples: int) -> None:
        if self.work.verify_s > 0:
            self.verifier.generate(self.work.verify_s * samples, 1, group.part())


class _Parts:
    """Requests of a group that have not ended; ``done`` when there is none."""

    def __init__(self, loop: EngineLoop) -> None:
        self.done: asyncio.Future[None] = loop.create_future()
        self._open = 0

    def part(self, after: Callable[[], None] | None = None) -> Callable[[], None]:
        """One more; to be called when it has ended. ``after`` may begin others."""
        self._open += 1
        return partial(self._end, after)

    def _end(self, after: Callable[[], None] | None) -> None:
        if after is not None:
            after()
        self._open -= 1
        if not self._open and not self.done.done():
            self.done.set_result(None)


def _with_signal(ticket: Ticket) -> tuple[Trajectory, ...]:
    """Two traces for all of a group: what the scheduler reads is their version, and that rewards differ."""
    completion = Completion((), "", "stop", (), ticket.submitted_version, ticket.submitted_version)
    traces = (Trace(ticket.problem.id, index, (), completion, "") for index in range(2))
    return tuple(Trajectory(trace, reward=float(trace.index)) for trace in traces)


def forecast(work: Workload, split: Split, algorithm: AlgorithmConfig, stream: StreamConfig, steps: int) -> Forecast:
    """What a run of ``steps`` steps, two or more, would do; the first fills the pools and is left out of the means."""
    loop = EngineLoop()
    try:
        return loop.run_until_complete(_run(loop, work, split, algorithm, stream, steps))
    finally:
        loop.abandon()


async def _run(
    loop: EngineLoop, work: Workload, split: Split, algorithm: AlgorithmConfig, stream: StreamConfig, steps: int
) -> Forecast:
    version = 0
    groups = _Groups(loop, work, split, algorithm.group_size)
    problems = [Problem(f"p{i}", MATH, "", answer="") for i in range(PROBLEMS)]
    scheduler = Scheduler(groups, ProblemSampler(problems, 0), stream, algorithm)
    learner_s, ready_s, stale, dropped, began = 0.0, 0.0, list[int](), 0, inf
    before = dict[str, tuple[float, float]]()
    for step in range(steps):
        batch = await scheduler.next_batch(version)
        ready = sum(loop.time() - groups.ready_at.pop(each.group.serial) for each in batch.groups)
        seconds = work.update_s + work.train_token_s * _tokens(groups, batch) / split.learner
        await asyncio.sleep(seconds)
        version += algorithm.updates_per_batch
        groups.planner.pause(True)
        await asyncio.sleep(work.broadcast_s)
        groups.planner.pause(False)
        if step:
            learner_s += seconds
            ready_s += ready
            dropped += batch.dropped
            stale += [version - algorithm.updates_per_batch - each.group.oldest_version for each in batch.groups]
        scheduler.finished(batch, version)
        if not step:
            began = loop.time()
            before = {name: (pool.made, pool.queued_s) for name, pool in groups.pools.items()}
    took = loop.time() - began
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
        simulated_s=loop.time(),
    )


def _tokens(groups: _Groups, batch: GroupBatch) -> int:
    """Tokens that the learner trains on."""
    return sum(groups.tokens.pop(each.group.serial) for each in batch.groups)
