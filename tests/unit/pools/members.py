"""A pool member in this process whose timing and faults a test decides."""

from __future__ import annotations

import asyncio
from typing import Any

from tracelift_ray.errors import ComponentDead, InfrastructureError
from tracelift_ray.pools.pool import Pool, PoolLimits


class FakeMember:
    """Works like an actor: calls run beside each other, control calls beside them; it can hang, fail and die."""

    def __init__(self, index: int, restart: int = 0) -> None:
        self.index, self.restart = index, restart
        self.running = self.most = 0
        self.done: list[Any] = []
        self.cancelled = 0
        self.stopped = self.dead = self.killed = self.unable = False
        self.asleep = self.drowsy = False
        self.gone = asyncio.Event()

    async def call(self, method: str, *args: Any) -> Any:
        return await self._unless_gone(getattr(self, method)(*args))

    async def control(self, method: str, *args: Any) -> Any:
        if self.stopped:
            return await self._unless_gone(asyncio.sleep(1e6))
        return await self._unless_gone(getattr(self, method)(*args))

    def kill(self) -> None:
        self.killed = True
        self.die()

    async def ended(self) -> None:
        assert self.killed

    def die(self) -> None:
        self.dead = True
        self.gone.set()

    async def start(self) -> None:
        if self.unable:
            raise InfrastructureError("engine", "no room for the cache")

    async def health(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def sleep(self) -> None:
        self.asleep = True

    async def wake(self) -> None:
        if self.drowsy:
            raise ComponentDead("engine", "CUDA out of memory")
        self.asleep = False

    async def work(self, seconds: float, name: Any = None) -> int:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(1e6 if self.stopped else seconds)
            self.done.append(name)
            return self.index
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def fail_on(self, index: int) -> int:
        if self.index == index:
            raise InfrastructureError("engine", "no room for the cache")
        return self.index

    async def bug(self) -> None:
        raise KeyError("a bug")

    async def _unless_gone(self, work: Any) -> Any:
        """The result of ``work``, or ``ComponentDead`` as soon as the member is gone."""
        working, gone = asyncio.ensure_future(work), asyncio.ensure_future(self.gone.wait())
        try:
            await asyncio.wait([working, gone], return_when=asyncio.FIRST_COMPLETED)
            if not self.dead:
                return await working
            raise ComponentDead("worker", "the process is gone")
        finally:
            working.cancel()
            gone.cancel()


class Spawner:
    """Makes members and keeps them all; ``unable`` counts replacements that will not start."""

    def __init__(self) -> None:
        self.made: list[FakeMember] = []
        self.unable = 0

    def __call__(self, index: int, restart: int) -> FakeMember:
        member = FakeMember(index, restart)
        if restart and self.unable:
            self.unable -= 1
            member.unable = True
        self.made.append(member)
        return member


LIMITS = PoolLimits(workers=2, capacity=4, deadline_s=30.0, retries=1, startup_s=30.0, health_s=0.05)


async def started(limits: PoolLimits = LIMITS) -> tuple[Pool, Spawner]:
    """A pool that is up, and what made its members."""
    spawner = Spawner()
    pool = Pool("worker", limits, spawner)
    await pool.start()
    return pool, spawner
