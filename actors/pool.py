"""A pool of Ray actors of one kind: work goes to the least busy member, with a deadline and retries elsewhere.

A call that ends in an infrastructure error (the member died, did not answer in time, or reported one) is tried on
another member, up to ``retries`` more times, then raised as ``InfrastructureError``. A member that died, reported
that it is dead, or answered no call for a whole deadline is restarted in the background while the other members work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError, TaskUnschedulableError

from tracelift_ray.config.models import PoolConfig
from tracelift_ray.types import ComponentDead, InfrastructureError

logger = logging.getLogger(__name__)


class Member:
    """One actor, the calls it holds, when it last answered one (monotonic seconds), and whether it is up."""

    def __init__(self, index: int, handle: Any) -> None:
        self.index = index
        self.handle = handle
        self.busy = 0
        self.answered = 0.0
        self.alive = True


class ActorPool:
    """Members made by ``spawn(index)``; each has an async method ``start`` that returns when it can work.

    ``prepare`` is awaited for a restarted member before it gets work (a planner takes weights there).
    """

    def __init__(self, name: str, config: PoolConfig, spawn: Callable[[int], Any], startup_s: float) -> None:
        self.name = name
        self.config = config
        self.startup_s = startup_s
        self.prepare: Callable[[Member], Awaitable[None]] | None = None
        self.restarts = 0
        self._spawn = spawn
        self._members: list[Member] = []
        self._changed = asyncio.Event()
        self._healing: set[asyncio.Task[None]] = set()
        self._closed = False
        self._failure = "check the pool's logs"

    @property
    def members(self) -> list[Member]:
        """The members that are up."""
        return [member for member in self._members if member.alive]

    async def start(self) -> None:
        """Start every member, all at once. Raises ``InfrastructureError`` with the first failure."""
        self._members = [Member(index, self._spawn(index)) for index in range(self.config.workers)]
        await asyncio.gather(*(self._started(member) for member in self._members))

    async def call(self, method: str, *args: Any) -> Any:
        """``method(*args)`` on the least busy member. Raises ``InfrastructureError`` after the retries."""
        tried: list[InfrastructureError] = []
        for _ in range(self.config.retries + 1):
            member = await self._pick(avoid={error.component for error in tried})
            try:
                return await self.call_member(member, self.config.deadline_s, method, *args)
            except InfrastructureError as error:
                tried.append(error)
                if member.alive:  # the loss of a member is logged once, not by each call that it held
                    logger.warning("%s", error)
        raise InfrastructureError(self.name, tried[-1].cause)

    async def call_member(self, member: Member, deadline_s: float, method: str, *args: Any) -> Any:
        """``method(*args)`` on one member. Raises ``InfrastructureError``; a member that died is restarted."""
        member.busy += 1
        began = monotonic()
        try:
            result = await asyncio.wait_for(result_of(getattr(member.handle, method).remote(*args)), deadline_s)
            member.answered = monotonic()
            return result
        except (TimeoutError, GetTimeoutError):
            cause = f"member {member.index} did not answer {method} in {deadline_s:g} s; check its log and its load"
            if member.answered < began:
                self.replace(member, cause)
        except (RayActorError, TaskUnschedulableError) as error:
            cause = f"member {member.index} died during {method} ({reason_of(error)})"
            self.replace(member, cause)
        except ComponentDead as error:
            cause = error.cause
            self.replace(member, cause)
        except InfrastructureError as error:
            cause = error.cause
        finally:
            member.busy -= 1
        raise InfrastructureError(f"{self.name}[{member.index}]", cause)

    async def close(self) -> None:
        """End every member and the processes it owns."""
        self._closed = True
        for task in self._healing:
            task.cancel()
        closing = (asyncio.wait_for(result_of(m.handle.close.remote()), 20.0) for m in self.members)
        await asyncio.gather(*closing, return_exceptions=True)
        for member in self._members:
            ray.kill(member.handle)

    async def _started(self, member: Member) -> None:
        await self.call_member(member, self.startup_s, "start")

    async def _pick(self, avoid: set[str]) -> Member:
        """The least busy member, preferably one not tried yet; waits for one that is being restarted."""
        while not self.members:
            if not self._healing:
                raise InfrastructureError(self.name, f"no member is up or could be restarted: {self._failure}")
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), self.startup_s)
            except TimeoutError:
                raise InfrastructureError(
                    self.name, f"no member has been up for {self.startup_s:g} s: {self._failure}"
                ) from None
        untried = [m for m in self.members if f"{self.name}[{m.index}]" not in avoid]
        return min(untried or self.members, key=lambda member: member.busy)

    def replace(self, member: Member, cause: str) -> None:
        """End a member that is up, and start another in its place, in the background."""
        if member.alive and not self._closed:
            member.alive = False
            ray.kill(member.handle)
            logger.warning("%s[%d] is lost, another is started in its place: %s", self.name, member.index, cause)
            task = asyncio.get_running_loop().create_task(self._restart(member))
            self._healing.add(task)
            task.add_done_callback(self._healed)

    def _healed(self, task: asyncio.Task[None]) -> None:
        self._healing.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failure = str(task.exception())
            logger.error("%s: a member could not be restarted", self.name, exc_info=task.exception())
        self._changed.set()

    async def _restart(self, member: Member) -> None:
        """Start the member again, and use it once it works and is prepared; give up after ``retries`` further tries."""
        for attempt in range(self.config.retries + 1):
            fresh = Member(member.index, self._spawn(member.index))
            fresh.alive = False
            try:
                await self._started(fresh)
                if self.prepare is not None:
                    await self.prepare(fresh)
            except InfrastructureError as error:
                logger.warning("%s[%d] could not be restarted (try %d): %s", self.name, member.index, attempt, error)
                self._failure = error.cause
                ray.kill(fresh.handle)
                continue
            # At once, without an await since ``prepare`` ended: what it prepared the member for still holds.
            fresh.alive = True
            self._members[self._members.index(member)] = fresh
            self.restarts += 1
            logger.warning("%s[%d] is up again", self.name, member.index)
            return
        logger.error("%s[%d] is given up; %d of the pool are up", self.name, member.index, len(self.members))


async def result_of(ref: Any) -> Any:
    """Await an object reference; an error raised inside the actor keeps its own type."""
    try:
        return await ref
    except RayTaskError as error:
        if isinstance(error.cause, InfrastructureError):
            raise error.cause from None
        raise


def reason_of(error: RayError) -> str:
    """Ray's reason for the death of an actor, on one line: its last one, which holds the exception.

    Leaves out Ray's paragraph about possible causes.
    """
    return str(error).strip().splitlines()[-1].partition(" Some common causes include")[0].strip()
