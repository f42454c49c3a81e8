"""All actors of a run, brought up together and taken down together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence

from actors import executor, learner, planner, reasoning_rm, verifier
from actors.placement import Placement
from actors.processes import whereabouts
from actors.runtime import live_nodes
from actors.usage import UsageWatch
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.planning.colocation import sleeping_pools
from tracelift_ray.planning.placement import Assignment, PlacementError, place
from tracelift_ray.planning.resources import demands
from tracelift_ray.pools.pool import Member, Pool
from tracelift_ray.reward.arms import requirements
from tracelift_ray.reward.execution import counts_tests
from tracelift_ray.rl.assembly import runs_programs
from tracelift_ray.rl.canary import Canary
from tracelift_ray.rl.colocation import SharedGpus
from tracelift_ray.rl.system import SystemPools
from tracelift_ray.rl.weights import broadcast_weights
from tracelift_ray.tracking.alive import SILENT_S, TICK_S, alive
from tracelift_ray.types import Problem

logger = logging.getLogger(__name__)


class RaySystem:
    """The pools and, where the run trains, the learner. ``start`` raises ``InfrastructureError`` and leaves nothing up.

    The reasoning-RM pool exists only where the reward needs a rubric score.

    Args:
        code: whether there are code problems; a machine without a sandbox for their programs is then refused.
        trains: whether there is a learner.
        plans: whether there are traces to write; without, neither planner nor reasoning RM is started.
    """

    def __init__(self, run: RunConfig, *, code: bool, trains: bool = True, plans: bool = True) -> None:
        self.run = run
        self.plans = plans
        self.placement = Placement()
        self._asleep = sleeping_pools(run) if trains else frozenset()
        self.planner = planner.RayPlannerPool(
            run.planner,
            run.stream,
            self.placement,
            run.seed,
            "planner" in self._asleep,
            run.learner.sent_adapter if trains else None,
        )
        self.executor = executor.RayExecutorPool(run.executor, self.placement, run.seed, "executor" in self._asleep)
        self.verifier = verifier.RayVerifierPool(
            run.verifier,
            run.sandbox,
            self.placement,
            code=code,
            stop_early=not counts_tests(run.reward.execution_style),
        )
        scored = plans and requirements(run.reward).rubric
        self.reasoning_rm = (
            reasoning_rm.RayReasoningRmPool(run.reasoning_rm, self.placement, run.seed, "reasoning_rm" in self._asleep)
            if scored
            else None
        )
        self.learner = learner.RayLearnerGroup(run, self.placement) if trains else None
        self._usage = UsageWatch(self.actor_pools, self.learner, run.tracking.usage_s)
        self._watching: list[asyncio.Future[None]] = []
        self._up: list[str] = []
        self.canary: Canary | None = None

    @property
    def pools(self) -> SystemPools:
        """The pools as the stream sees them."""
        return SystemPools(self.planner, self.executor, self.verifier, self.reasoning_rm)

    def actor_pools(self) -> list[Pool]:
        """The pools that this system has."""
        pools = [*([self.planner.pool] if self.plans else []), self.executor.pool, self.verifier.pool]
        return pools if self.reasoning_rm is None else [*pools, self.reasoning_rm.pool]

    async def start(self, checkpoint: str | None = None) -> None:
        """Place and start everything; the learner continues from ``checkpoint`` (its ``learner/`` directory).

        Pools on the learner's GPUs are asleep then.
        """
        starting: list[asyncio.Future[None]] = []
        try:
            await self.placement.reserve(self._assignments(), self.run.cluster.placement_timeout_s)
            alone = [pool for pool in self.actor_pools() if pool not in self._colocated()]
            starting = [asyncio.ensure_future(self._start_pool(pool)) for pool in alone]
            starting.append(asyncio.ensure_future(self._start_learner(checkpoint)))
            await asyncio.gather(*starting)
        except BaseException:  # a failure or Ctrl-C: nothing stays up; the error propagates
            for each in starting:
                each.cancel()
            await self.close()
            raise
        self.planner.pool.prepare = self._bring_up_to_date
        self._usage.node_id, _ = whereabouts()
        watched = self.placement.watch(lambda: [node.name for node in live_nodes()])
        self._watching = [asyncio.ensure_future(each) for each in (watched, self._usage.run())]

    def standing(self) -> str:
        """Which parts are up while all are started, in a line."""
        names = [pool.name for pool in self.actor_pools()] + (["learner"] if self.learner is not None else [])
        waiting = [name for name in names if name not in self._up]
        return f"starting actors: {', '.join(self._up) or 'none'} up, waiting for {', '.join(waiting)}"

    @property
    def shared(self) -> SharedGpus:
        """The pools on the learner's GPUs."""
        return SharedGpus(self._colocated())

    def metrics(self) -> dict[str, float]:
        """What every pool holds now, and what it lost so far; what the processes use."""
        held = {name: value for pool in self.actor_pools() for name, value in pool.metrics().items()}
        if self.learner is not None:
            held |= self.learner.metrics()
        return held | {"faults/nodes": float(self.placement.lost_nodes)} | self._usage.metrics()

    async def restart_learner(self, checkpoint: str | None) -> None:
        """Start the learner again from ``checkpoint``. Pools on its GPUs are asleep then; the others go on."""
        assert self.learner is not None
        await self.shared.to_learner()
        await self.learner.restart(checkpoint)

    async def close(self) -> None:
        """End every actor and the processes they own, and give the resources back."""
        for watching in self._watching:
            watching.cancel()
        closing = [pool.close() for pool in self.actor_pools()]
        if self.learner is not None:
            closing.append(self.learner.close())
        await asyncio.gather(*closing)
        self.placement.release()

    async def _start_learner(self, checkpoint: str | None) -> None:
        """Start the learner, and before it the pools on its GPUs."""
        for pool in self._colocated():  # one by one: an engine measures what is free of its GPU while it starts
            await self._start_pool(pool)
        if self.learner is not None:
            await self.shared.to_learner()
            await self.learner.start(checkpoint)
            self._up.append("learner")

    async def _start_pool(self, pool: Pool) -> None:
        await pool.start()
        self._up.append(pool.name)

    def _colocated(self) -> list[Pool]:
        return [pool for pool in self.actor_pools() if pool.name in self._asleep]

    async def _bring_up_to_date(self, member: Member) -> None:
        """A restarted planner member takes the learner's weights before it gets work."""
        if self.learner is not None:
            await broadcast_weights(self.learner, self.planner.only(member), self.canary)

    def _assignments(self) -> list[Assignment]:
        """The map of the pools that this system has. Raises ``InfrastructureError`` where they do not fit."""
        asked = [each for each in demands(self.run) if each.name not in self._absent()]
        try:
            return list(place(asked, live_nodes(), self.run.cluster.share_gpus, self.run.stream.weight_transfer))
        except PlacementError as error:
            raise InfrastructureError("cluster", str(error)) from None

    def _absent(self) -> set[str]:
        """The pools of a run that this system does without."""
        absent = {"learner"} if self.learner is None else set()
        return absent if self.plans else absent | {"planner", "reasoning_rm"}


@contextlib.asynccontextmanager
async def running_system(
    run: RunConfig,
    problems: Sequence[Problem],
    *,
    trains: bool = True,
    plans: bool = True,
    checkpoint: str | None = None,
    say: Callable[[str], None] = lambda line: None,
    say_every_s: float = TICK_S,
) -> AsyncIterator[RaySystem]:
    """A system that is up inside the ``async with``; ``problems`` are those that it will be given.

    ``say`` learns every ``say_every_s`` seconds what is up while the parts start.
    """
    system = RaySystem(run, code=runs_programs(problems), trains=trains, plans=plans)
    async with alive(say, system.standing, say_every_s):
        await system.start(checkpoint)
    try:
        yield system
    finally:
        await system.close()


@contextlib.asynccontextmanager
async def running_pools(
    run: RunConfig, problems: Sequence[Problem], *, plans: bool, say: Callable[[str], None] = lambda line: None
) -> AsyncIterator[SystemPools]:
    """The pools of a system that does not train; ``say`` learns what is up while they start, and that they end."""
    starting = running_system(run, problems, trains=False, plans=plans, say=say, say_every_s=SILENT_S)
    async with contextlib.AsyncExitStack() as ending, starting as system:
        try:
            yield system.pools
        finally:
            await ending.enter_async_context(alive(say, lambda: "ending actors", SILENT_S))
