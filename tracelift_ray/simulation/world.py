"""One simulated process: the real stream, loop, pools and checkpoints over simulated members, learner and disk."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from random import Random
from typing import Any

from tracelift_ray.config.schema import CurriculumConfig, RunConfig
from tracelift_ray.data.curriculum import Curriculum
from tracelift_ray.engines.seeds import request_seed
from tracelift_ray.pools.pool import Member, Pool, PoolLimits
from tracelift_ray.rl import lives
from tracelift_ray.rl.baseline_cache import BaselineCache, BaselineIdentity
from tracelift_ray.rl.baseline_pool import BaselinePool
from tracelift_ray.rl.baselines import Baselines
from tracelift_ray.rl.colocation import SharedGpus
from tracelift_ray.rl.loop import TrainingLoop
from tracelift_ray.rl.planner_pool import PlannerPool
from tracelift_ray.rl.requests import Requests
from tracelift_ray.rl.system import PlannerExecutorSystem, SystemPools, SystemSettings
from tracelift_ray.rl.weights import broadcast_weights
from tracelift_ray.simulation.account import ENOUGH, RESTS
from tracelift_ray.simulation.clock import Killed, SimulatedLoop
from tracelift_ray.simulation.disk import SimulatedDisk
from tracelift_ray.simulation.learner import TRANSFER_S, SimulatedLearner
from tracelift_ray.simulation.life import SimulatedLife
from tracelift_ray.simulation.members import SimulatedMember
from tracelift_ray.simulation.parts import (
    PooledGenerator,
    PooledReasoningRm,
    PooledVerifier,
    WatchedLedger,
    WatchedRollout,
    WatchedSampler,
    WatchedScheduler,
    WatchedTracker,
    prompt_renderer,
)
from tracelift_ray.simulation.plan import DEADLY, Faults, Scenario
from tracelift_ray.simulation.watch import Watch
from tracelift_ray.tasks.table import TASKS
from tracelift_ray.training.checkpoint import newest_complete
from tracelift_ray.types import Problem, Prompt

CALL_S, START_S, HEALTH_S, GROUP_S = 40.0, 100.0, 10.0, 250.0
#: What is cancelled ends within so many seconds.
PROMPTLY_S = 0.01
#: All that a run leaves behind must have ended so many seconds after it.
SETTLE_S = 2_000.0
#: More events than this are a run that does not end.
MOST_EVENTS = 100_000
CACHED_SAMPLES = 16
#: Pooled baselines: samples of one group, and where a problem has enough; few, so that runs come to it.
POOLED_SAMPLES, MOST_POOLED = 2, 5
POOLS = ("planner", "executor", "verifier", "reasoning_rm")
_EPOCHS = 60


class Broken(BaseException):
    """A rule does not hold; the watch says which."""


#: A task whose answers are texts.
TASK = next(name for name, task in TASKS.items() if not task.runs_programs)


@lru_cache(16)
def problems(count: int) -> tuple[Problem, ...]:
    """The problems of a scenario."""
    return tuple(Problem(f"p{i}", TASK, f"what of problem p{i} ?", answer=str(70001 + i)) for i in range(count))


@lru_cache(16)
def _requests(seed: int, count: int, group_size: int) -> dict[int | None, tuple[str, str, int, int]]:
    """Every request that a run may make, by its seed."""
    found: dict[int | None, tuple[str, str, int, int]] = {}
    for problem in problems(count):
        found[request_seed(seed, "executor", problem.id, "baseline")] = ("baseline", problem.id, -1, -1)
        for epoch in range(_EPOCHS):
            key = (problem.id, epoch)
            found[request_seed(seed, "executor", *key, "baseline")] = ("baseline", *key, -1)
            for index in range(group_size):
                for role in ("planner", "executor"):
                    found[request_seed(seed, role, *key, index)] = (role, *key, index)
    return found


def run_config(base: RunConfig, scenario: Scenario) -> RunConfig:
    """``base`` with the values of a scenario."""
    return replace(
        base,
        seed=0,
        total_steps=scenario.steps,
        reward=replace(
            base.reward,
            arm=scenario.arm,
            e2e=scenario.e2e,
            num_samples=3,
            baseline=scenario.baseline,
            cached_samples=MOST_POOLED if scenario.baseline == "pooled" else CACHED_SAMPLES,
            baseline_samples=POOLED_SAMPLES,
        ),
        algorithm=replace(
            base.algorithm,
            groups_per_step=scenario.groups_per_step,
            group_size=scenario.group_size,
            updates_per_batch=scenario.updates_per_batch,
        ),
        stream=replace(
            base.stream,
            max_staleness=scenario.max_staleness,
            order=scenario.order,
            max_refills=scenario.max_refills,
            min_traces=scenario.min_traces,
            max_failed_groups=4,
            # One member that takes one call at a time is too slow for all groups that may run at once.
            group_deadline_s=GROUP_S if scenario.workers * scenario.capacity > 1 else 3 * GROUP_S,
        ),
        learner=replace(
            base.learner, save_every=scenario.save_every, export_every=0, keep_checkpoints=1, upload_command=""
        ),
        data=replace(base.data, curriculum=CurriculumConfig(scenario.curriculum, 1.0, 0.0, ENOUGH, RESTS)),
        evaluation=replace(base.evaluation, at_start=True, every=scenario.evaluate_every),
    )


class World:
    """One process from its start to its end."""

    def __init__(
        self, base: RunConfig, scenario: Scenario, faults: Faults, watch: Watch, disk: SimulatedDisk, life: int
    ) -> None:
        self.scenario = scenario
        self.faults = faults
        self.watch = watch
        self.disk = disk
        self.config = run_config(base, scenario)
        self.requests = _requests(self.config.seed, scenario.problems, scenario.group_size)
        self.problems = problems(scenario.problems)
        self.samples = watch.samples
        self.doomed = ""
        self.call_s, self.health_s = CALL_S, HEALTH_S
        self.released = 0
        self.lives = 0  # of the learner
        self.loop = SimulatedLoop(f"schedule/{scenario.seed}/{life}", scenario.shuffled)
        self.loop.after_step = self._after_step
        self.asked = Requests()
        self._times = Random(f"times/{scenario.seed}/{life}")
        self.training: TrainingLoop | None = None
        self._members: list[SimulatedMember] = []
        disk.take, disk.die = self.take, self.die

    def run(self) -> None:
        """Run to the end of the process. Raises what ends it."""
        try:
            self.loop.run_until_complete(self._main())
        finally:
            self.loop.abandon()

    def event(self, *what: Any) -> None:
        """A line of the log; what differs from run to run, the place of the files, is left out."""
        if any(isinstance(each, str) and "/" in each for each in what):
            root = str(self.disk.root)
            what = tuple(each.replace(root, "RUN") if isinstance(each, str) else each for each in what)
        self.watch.event(self.loop.time(), *what)

    def take(self, where: str) -> str:
        """The fault that is due at a place."""
        fault = self.faults.take(where)
        if fault:
            self.event("fault", where, fault)
        return fault

    def seconds(self, most: float) -> float:
        """How long something takes; where groups may be of several versions, now and then much longer."""
        straggles = self.scenario.max_staleness > 0 and self._times.random() < 0.06
        return most * (4.0 if straggles else self._times.uniform(0.1, 1.0))

    def die(self, kind: str) -> None:
        """The process is gone as of now."""
        self.event("death", kind)
        self.doomed = kind
        self.watch.live = False
        self.disk.lose_process(kind)

    def check_gpus(self) -> None:
        """The learner needs its GPUs: whatever shares them is asleep."""
        if self.scenario.shared_gpus:
            awake = [m.name for m in self._members if m.pool == "planner" and not (m.asleep or m.dead)]
            self.watch.check(not awake, "engines on the learner's GPUs sleep while it works", *awake)

    def problem_in(self, prompt: Prompt) -> Problem:
        """The problem that a prompt is about."""
        found = re.search(r"problem p(\d+) \?", prompt.text)
        assert found is not None
        return self.problems[int(found[1])]

    def _after_step(self) -> None:
        fault = self.take("process")
        if fault in DEADLY:
            self.die(fault)
        elif fault and self.training is not None:
            self.asked.stop()
        if self.doomed:
            raise Killed
        watch = self.watch
        if self.training is not None:
            scheduler = self.training.scheduler
            held = scheduler.ledger.outstanding + watch.holding
            if held > watch.capacity:
                watch.check(False, "the stream keeps its bound", held, watch.capacity)
            if watch.moved:  # a save could come now
                watch.moved = False
                watch.saved_stream(scheduler.state())
        if self.loop.unhandled:
            watch.check(False, "no callback fails", *self.loop.unhandled)
        if self.loop.steps > MOST_EVENTS:
            watch.check(False, "a run ends", *self.loop.pending()[:8])
        if watch.violations:
            raise Broken

    def _pool(self, name: str) -> Pool:
        scenario = self.scenario
        limits = PoolLimits(
            scenario.workers, scenario.capacity, CALL_S, scenario.retries, startup_s=START_S, health_s=HEALTH_S
        )

        def spawn(index: int, restart: int) -> SimulatedMember:
            self._members.append(SimulatedMember(self, name, index, restart, scenario.capacity))
            return self._members[-1]

        return Pool(name, limits, spawn)

    async def _main(self) -> None:
        pools = {name: self._pool(name) for name in POOLS}
        planner = PlannerPool(pools["planner"], TRANSFER_S)
        self.learner = SimulatedLearner(self)
        shared = SharedGpus([pools["planner"]] if self.scenario.shared_gpus else [])
        try:
            await asyncio.gather(*(pool.start() for pool in pools.values()))
            await shared.to_learner()

            async def prepare(member: Member) -> None:
                await broadcast_weights(self.learner, planner.only(member))

            planner.pool.prepare = prepare
            found = newest_complete(self.disk.root / "checkpoints")
            step = 0 if found is None else found.step
            self.watch.check(step >= self.watch.published, "a checkpoint that was announced is there", step)
            life = SimulatedLife(self, lambda: self._loop(pools, planner, shared), shared)
            await lives.train(life, found, self.config.learner.restarts)
        finally:
            await asyncio.sleep(PROMPTLY_S)
            held = [f"{m.pool}[{m.name}]" for m in self._members if m.held and not m.dead]
            self.watch.check(not held, "no call outlives the training", *held)
            await asyncio.gather(*(pool.close() for pool in pools.values()))
            await asyncio.sleep(SETTLE_S)
            pending = self.loop.pending()
            self.watch.check(len(pending) == 1, "nothing outlives the run", *pending[1:])
            self.watch.check(self.released == len(self.learner.channels), "what a transfer held is freed")

    def _loop(self, pools: Mapping[str, Pool], planner: PlannerPool, shared: SharedGpus) -> TrainingLoop:
        config, scenario = self.config, self.scenario
        system = self._system(pools, planner)
        cache = None
        if config.reward.baseline == "cached":
            identity = BaselineIdentity({}, {}, {}, CACHED_SAMPLES)
            cache = BaselineCache(
                self.disk.root / "baselines",
                identity,
                lambda problem: system.executor_request(problem, None, CACHED_SAMPLES, ()),
            )
        rollout = WatchedRollout(
            system,
            Baselines(system, cache),
            config.reward,
            group_size=config.algorithm.group_size,
            min_traces=config.stream.min_traces,
            deadline_s=config.stream.group_deadline_s,
        )
        settings = config.data.curriculum
        curriculum = Curriculum(settings, grows=scenario.baseline == "per_group") if settings.enabled else None
        sampler = WatchedSampler(self.problems, config.seed, curriculum=curriculum)
        sampler.watch = self.watch
        pooled = config.reward.baseline == "pooled" and config.reward.arm == "tracelift"
        baselines = BaselinePool(config.reward.baseline_strength) if pooled else None
        ledger = WatchedLedger(self.watch)
        scheduler = WatchedScheduler(rollout, sampler, config.stream, config.algorithm, ledger, baselines)
        rollout.world = scheduler.world = self
        return TrainingLoop(
            config,
            self.learner,
            planner,
            scheduler,
            self._evaluate,
            Counter(),
            WatchedTracker(self),
            self.disk.root / "checkpoints",
            shared=shared,
            requests=self.asked,
        )

    def _system(self, pools: Mapping[str, Pool], planner: PlannerPool) -> PlannerExecutorSystem:
        config, prompts = self.config, prompt_renderer()
        settings = SystemSettings(
            prompts,
            prompts,
            replace(config.planner.sampling, seeded=True),
            replace(config.executor.sampling, seeded=True),
            config.executor.max_prompt_tokens,
            config.data.max_trace_chars,
            config.seed,
        )
        served = SystemPools(
            planner,
            PooledGenerator(pools["executor"], self.scenario.near),
            PooledVerifier(pools["verifier"]),
            PooledReasoningRm(pools["reasoning_rm"]),
        )
        return PlannerExecutorSystem(served, settings)

    async def _evaluate(self) -> dict[str, float]:
        measured = self.learner.version
        await asyncio.sleep(self.seconds(10.0))
        for member in self._members:
            if member.dead or member.pool != "planner":
                continue
            # One that is started in the meantime takes those of an update that may be over.
            right = {None, measured, *([self.learner.version] if member.restarted else [])}
            rule = "an evaluation measures the weights that it began with"
            self.watch.check(member.version in right, rule, member.name, member.version)
        return {"evaluation/accuracy": 0.5}
