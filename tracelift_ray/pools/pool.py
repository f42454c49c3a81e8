"""A pool of members of one kind: calls wait in its queue, go to the least busy member, and are retried elsewhere.

The pool knows no Ray. A member is reached through a ``Handle``, which carries calls to an actor, a process or a
simulated one.

- **Admission**: a member holds a bounded number of calls; what does not fit waits here, where it can be counted,
  retried and cancelled. The deadline of a call starts when it is dispatched.
- **A call that is given up on is cancelled**, in the member too, and tried on another one up to ``retries`` times.
- **A member is replaced only when it is dead or does not answer ``health``.** A late call alone costs no member. One
  that cannot be started again is tried again after pauses that grow, for as long as another is up.
- **Control calls never wait behind work**: weights, health and statistics have a lane of their own.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

from tracelift_ray.errors import ComponentDead, InfrastructureError
from tracelift_ray.pools.admission import Admission
from tracelift_ray.pools.held import HEALTH, HeldCalls, PoolState

logger = logging.getLogger(__name__)
#: Why a member was replaced: its process ended; it did not answer its health check; it could not do what it must.
Loss = Literal["died", "unanswered", "failed"]
LOSSES: tuple[Loss, ...] = get_args(Loss)
#: Seconds before a member that was given up is tried again; each further pause is twice as long, up to the longest.
PAUSE_S, LONGEST_PAUSE_S = 30.0, 960.0
#: Seconds that closing a member may take before it is ended by force.
CLOSE_S = 20.0


class Handle(Protocol):
    """What carries calls to one member. Cancelling an awaited call cancels it in the member.

    Both raise ``ComponentDead`` where the member is gone, and what the method itself raised otherwise.
    """

    async def call(self, method: str, *args: Any) -> Any:
        """Work: ``method(*args)`` among the member's other calls."""

    async def control(self, method: str, *args: Any) -> Any:
        """``method(*args)`` at once, whatever else the member does."""

    def kill(self) -> None:
        """End the member by force."""

    async def ended(self) -> None:
        """Return once a member that was killed holds its place no more."""


@dataclass(frozen=True)
class PoolLimits:
    """Size and deadlines of a pool, in seconds.

    Attributes:
        workers: members.
        capacity: calls that one member holds at a time, at most; a member may hold fewer (what ``start`` returns).
        deadline_s: one call, from its dispatch.
        retries: further tries of a call on other members, and of starting a member.
        startup_s: until a new member can work.
        health_s: until a member that was late with a call has shown that it lives.
    """

    workers: int
    capacity: int
    deadline_s: float
    retries: int
    startup_s: float
    health_s: float


class Member:
    """One member: its handle, the calls it holds, and whether it is up. ``name`` differs after a restart."""

    def __init__(self, index: int, restart: int, handle: Handle, capacity: int) -> None:
        self.index = index
        self.name = f"{index}.{restart}"
        self.handle = handle
        self.capacity = capacity
        self.busy = 0
        self.alive = True
        self.started = False
        self.checking: asyncio.Task[None] | None = None


class Pool:
    """Members made by ``spawn(index, restart)``, ``restart`` counting how often that place was filled before.

    A member's ``start`` returns when it can work: None, or how many calls it can hold. ``prepare`` is awaited for a
    replacement before it gets work (a planner engine takes weights there).
    """

    def __init__(self, name: str, limits: PoolLimits, spawn: Callable[[int, int], Handle]) -> None:
        self.name = name
        self.limits = limits
        self.prepare: Callable[[Member], Awaitable[None]] | None = None
        self.restarts = 0
        self.late = self.retried = 0
        self.losses: Counter[Loss] = Counter()
        self._spawn = spawn
        self._spawned: dict[int, int] = {}
        self._members: list[Member] = []
        self._admission: Admission = Admission(lambda: self.members)
        self._calls = HeldCalls()
        self._replacing: list[asyncio.Task[None]] = []
        self._pausing: set[asyncio.Task[None]] = set()  # before places that were given up are tried again
        self._closed = False
        self._awake = asyncio.Event()
        self._awake.set()
        self._failure = "check the pool's logs"

    @property
    def members(self) -> list[Member]:
        """The members that are up."""
        return [member for member in self._members if member.alive]

    def observe(self, ended: Callable[[str, str, float], None]) -> None:
        """Tell ``ended`` of each call that ends from now on: its member, its method, and when it was dispatched."""
        self._calls.observe = ended

    async def start(self) -> None:
        """Start every member, all at once. Raises ``InfrastructureError`` with the first failure."""
        self._members = [self._new_member(index) for index in range(self.limits.workers)]
        starting = [asyncio.ensure_future(self._started(member)) for member in self._members]
        try:
            await asyncio.gather(*starting)
        finally:  # one that failed takes the others along
            for each in starting:
                each.cancel()

    async def call(self, method: str, *args: Any, lane: str = "", near: str = "") -> Any:
        """``method(*args)`` on the least busy member with room, or nearly.

        ``lane``: calls that take turns with others. ``near``: calls that had better go to one member (``Admission``).

        Raises:
            InfrastructureError: it failed on ``retries`` + 1 members, or no member is up nor will be.
        """
        tried: list[Member] = []
        while True:
            self._check_there_will_be_a_member()
            member, since = await self._admission.enter(lane, tried, first=bool(tried), near=near)
            tried.append(member)
            try:
                return await self._work(member, method, *args)
            except InfrastructureError as error:
                if len(tried) > self.limits.retries:
                    raise InfrastructureError(self.name, error.cause) from error
                self.retried += 1
                if member.alive:  # the loss of a member is logged once, not by each call that it held
                    logger.warning("%s", error)
            finally:
                self._admission.leave(member, since)

    async def control(self, member: Member, deadline_s: float, method: str, *args: Any) -> Any:
        """``method(*args)`` on one member, beside its work. Raises ``InfrastructureError``; a dead one is replaced."""
        try:
            return await self._answer(member, member.handle.control(method, *args), deadline_s, method)
        except TimeoutError:
            cause = f"member {member.index} did not finish {method} in {deadline_s:g} s; check its log and its load"
            raise InfrastructureError(f"{self.name}[{member.index}]", cause) from None

    def replace(self, member: Member, cause: str, loss: Loss = "failed") -> None:
        """End a member that is up, and start another in its place in the background."""
        if not member.alive or self._closed:
            return
        self.losses[loss] += 1
        member.alive = False
        member.handle.kill()
        logger.warning("%s[%d] is lost, another is started in its place: %s", self.name, member.index, cause)
        self._fill(member, self.limits.retries + 1, PAUSE_S)

    async def sleep(self) -> None:
        """Every member frees its GPU, unless the pool sleeps already; one that cannot is replaced. A replacement then
        starts once the pool is awake."""
        if not self._awake.is_set():
            return
        if self._replacing:  # starting, for which they need their GPU
            await asyncio.wait(self._replacing)
        self._awake.clear()
        await asyncio.gather(*(self._tell(member, "sleep") for member in self.members))

    async def wake(self) -> None:
        """Every member takes its GPU again; one that cannot is replaced."""
        await asyncio.gather(*(self._tell(member, "wake") for member in self.members))
        self._awake.set()

    async def _tell(self, member: Member, method: str) -> None:
        try:
            await self.control(member, self.limits.startup_s, method)
        except InfrastructureError as error:
            self.replace(member, error.cause)

    def metrics(self) -> dict[str, float]:
        """What the pool holds now, how it fared since it was asked last, and what it lost since it was started."""
        return {
            f"pools/{self.name}/members": float(len(self.members)),
            f"pools/{self.name}/running": float(sum(member.busy for member in self.members)),
            f"pools/{self.name}/queued": float(self._admission.waiting),
            f"pools/{self.name}/longest_wait_s": self._admission.longest_wait_s,
            f"pools/{self.name}/restarts": float(self.restarts),
            f"pools/{self.name}/late_calls": float(self.late),
            f"pools/{self.name}/retried_calls": float(self.retried),
            f"pools/{self.name}/given_up": float(len(self._pausing)),
            **{f"pools/{self.name}/{figure}": value for figure, value in self._admission.figures().items()},
            **{f"faults/{self.name}/{loss}": float(self.losses[loss]) for loss in LOSSES},
        }

    def state(self) -> PoolState:
        """Who holds which calls since when, those in the pool's queue, and how many have ended."""
        queued_since = asyncio.get_running_loop().time() - self._admission.longest_wait_s
        return PoolState(self.name, self._calls.held(), self._admission.waiting, queued_since, self._calls.ended)

    async def close(self) -> None:
        """End every member and the processes it owns."""
        self._closed = True
        self._admission.refuse_all(InfrastructureError(self.name, "the pool was closed"))
        for task in (*self._replacing, *self._pausing):
            task.cancel()
        up = (member for member in self.members if member.started)  # the others have nothing to end in order
        closing = (asyncio.wait_for(member.handle.control("close"), CLOSE_S) for member in up)
        await asyncio.gather(*closing, return_exceptions=True)
        for member in self._members:
            member.handle.kill()

    async def _work(self, member: Member, method: str, *args: Any) -> Any:
        """One try of a call. A member that is late with it must show that it lives before anything else is tried."""
        try:
            return await self._answer(member, member.handle.call(method, *args), self.limits.deadline_s, method)
        except TimeoutError:
            self.late += 1
            await self._check_health(member)
            state = "it is healthy: check its load" if member.alive else "it did not answer its health check either"
            cause = f"member {member.index} did not finish {method} in {self.limits.deadline_s:g} s; {state}"
            raise InfrastructureError(f"{self.name}[{member.index}]", cause) from None

    async def _answer(self, member: Member, call: Awaitable[Any], deadline_s: float, method: str) -> Any:
        """The result of a call. ``TimeoutError`` after ``deadline_s``, with the call cancelled."""
        try:
            with self._calls.one(member.name, method):
                async with asyncio.timeout(deadline_s):
                    return await call
        except ComponentDead as error:
            cause = f"member {member.index} died during {method} ({error.cause})"
            self.replace(member, cause, "died")
        except InfrastructureError as error:
            error.component = f"{self.name}[{member.index}]"
            raise
        raise InfrastructureError(f"{self.name}[{member.index}]", cause)

    async def _check_health(self, member: Member) -> None:
        """Replace the member unless it answers ``health``; checks of one member at a time are one check."""
        if not member.alive:
            return
        if member.checking is None or member.checking.done():
            member.checking = asyncio.ensure_future(self._check(member))
        await asyncio.shield(member.checking)

    async def _check(self, member: Member) -> None:
        try:
            with self._calls.one(member.name, HEALTH):
                await asyncio.wait_for(member.handle.control(HEALTH), self.limits.health_s)
        except TimeoutError:
            cause = f"it did not answer its health check in {self.limits.health_s:g} s"
            self.replace(member, cause, "unanswered")
        except InfrastructureError as error:
            self.replace(member, f"its health check failed: {error.cause}")

    def _new_member(self, index: int) -> Member:
        restart = self._spawned.get(index, 0)
        self._spawned[index] = restart + 1
        return Member(index, restart, self._spawn(index, restart), self.limits.capacity)

    async def _started(self, member: Member) -> None:
        holds = await self.control(member, self.limits.startup_s, "start")
        if isinstance(holds, int):
            member.capacity = max(1, min(holds, self.limits.capacity))
        member.started = True

    def _check_there_will_be_a_member(self) -> None:
        if not self.members and not self._replacing:
            raise InfrastructureError(self.name, f"no member is up or could be started again: {self._failure}")

    def _fill(self, lost: Member, tries: int, pause_s: float) -> None:
        """Start another member in the place of ``lost``, in the background; where that fails, again after a pause."""
        task = asyncio.get_running_loop().create_task(self._start_replacement(lost, tries, pause_s))
        self._replacing.append(task)
        task.add_done_callback(self._replaced)

    async def _fill_later(self, lost: Member, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        self._fill(lost, 1, min(2 * pause_s, LONGEST_PAUSE_S))

    async def _start_replacement(self, lost: Member, tries: int, pause_s: float) -> None:
        """Start a member in the place of ``lost``; it gets work once it is prepared."""
        await lost.handle.ended()
        await self._awake.wait()
        for attempt in range(tries):
            fresh = self._new_member(lost.index)
            fresh.alive = False
            try:
                await self._started(fresh)
                if self.prepare is not None:
                    await self.prepare(fresh)
            except InfrastructureError as error:
                logger.warning("%s[%d] could not be restarted (try %d): %s", self.name, lost.index, attempt + 1, error)
                self._failure = error.cause
                fresh.handle.kill()
                continue
            except BaseException:  # cancelled, or a fault of ours: no process is left, and it goes on
                fresh.handle.kill()
                raise
            # At once, without an await since ``prepare`` ended: what it prepared the member for still holds.
            fresh.alive = True
            self._members[self._members.index(lost)] = fresh
            self.restarts += 1
            logger.warning("%s[%d] is up again", self.name, lost.index)
            return
        up = len(self.members)
        logger.error("%s[%d] is given up for %g s; %d of the pool are up", self.name, lost.index, pause_s, up)
        if up:
            pausing = asyncio.get_running_loop().create_task(self._fill_later(lost, pause_s))
            self._pausing.add(pausing)
            pausing.add_done_callback(self._pausing.discard)

    def _replaced(self, task: asyncio.Task[None]) -> None:
        self._replacing.remove(task)
        if not task.cancelled() and task.exception() is not None:
            self._failure = str(task.exception())
            logger.error("%s: a member could not be restarted", self.name, exc_info=task.exception())
        if not self.members and not self._replacing:
            cause = f"no member is up or could be started again: {self._failure}"
            self._admission.refuse_all(InfrastructureError(self.name, cause))
        self._admission.hand_out()
