"""Modelled engines: requests that an engine holds at the same time share its speed (processor sharing, exactly).

Times are those of the loop's virtual clock; nothing is generated. A request costs a few entries of a heap, no task and
no timer, and an engine that never held one costs nothing, so that thousands of engines are simulated faster than they
would work.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from math import inf

from tracelift_ray.config.rules import NotNegative, Positive, PositiveCount
from tracelift_ray.simulation.clock import SimulatedLoop

#: Of a token, which rounding may leave of a request that is done.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Speed:
    """How an engine decodes: seconds of one token for each request, where it holds so many.

    Attributes:
        alone_s: of a request that has the engine to itself.
        beside_s: more for each further request beside it.
        slots: requests that it decodes at a time; others queue.
    """

    alone_s: Positive
    beside_s: NotNegative
    slots: PositiveCount

    def token_s(self, requests: int) -> float:
        """Seconds of a token."""
        return self.alone_s + self.beside_s * (requests - 1)


class EngineLoop(SimulatedLoop):
    """The virtual clock of engines: their events come between those of asyncio, each at its time."""

    def __init__(self) -> None:
        super().__init__("capacity", shuffled=False)
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self._asked = 0

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Call ``call`` at ``when``, after what was asked for that time before."""
        self._asked += 1
        heappush(self.events, (when, self._asked, call))

    def _run_once(self) -> None:
        events, timers, ready = self.events, self._timers, self._queue
        while timers and timers[0].cancelled():
            heappop(timers)._scheduled = False  # type: ignore[attr-defined]
        until = timers[0].when() if timers else inf
        while events and not ready and events[0][0] <= until:
            self.now, _, call = heappop(events)
            call()
        super()._run_once()


class InTurn:
    """Members that take one thing at a time, in the order in which they were asked: the end of each is known at once.

    What it has ``made`` are seconds of work.
    """

    def __init__(self, loop: EngineLoop, members: int) -> None:
        self.most_per_s = float(members)
        self._loop = loop
        self._free = [0.0] * members  # when each has done all that was asked so far
        self._asked_s = 0.0
        self._queued_s = 0.0
        self._waiting: deque[tuple[float, float]] = deque()  # when each begins, and for how long it waits until then

    def take(self, seconds: float, done: Callable[[], None]) -> None:
        """Call ``done`` when a member has worked so long on it."""
        now, begins = self._loop.now, self._free[0]
        if begins > now:
            self._waiting.append((begins, begins - now))
        else:
            begins = now
        self._asked_s += seconds
        heapreplace(self._free, begins + seconds)
        self._loop.at(begins + seconds, done)

    @property
    def made(self) -> float:
        """Seconds of work so far."""
        now = self._loop.now
        return self._asked_s - sum(free - now for free in self._free if free > now)

    @property
    def queued_s(self) -> float:
        """Seconds that requests spent in the queue so far, those that still wait left out."""
        while self._waiting and self._waiting[0][0] <= self._loop.now:
            self._queued_s += self._waiting.popleft()[1]
        return self._queued_s


class Engines:
    """A pool of engines; a request goes to the one that holds the fewest, or queues.

    Attributes:
        made: tokens so far.
        queued_s: seconds that requests spent in the queue so far, those that still wait left out.
    """

    def __init__(self, loop: EngineLoop, members: int, speed: Speed) -> None:
        self.loop = loop
        self.speed = speed
        self.made = 0.0
        self.queued_s = 0.0
        self.paused = False
        self._count = members
        self._members: list[_Engine] = []  # those that have held a request, the first ones
        self._fewest: list[tuple[int, int]] = []  # with entries of the past, which say another number
        self._queue: deque[tuple[float, int, Callable[[], None], float]] = deque()

    def generate(self, tokens: float, requests: int, done: Callable[[], None]) -> None:
        """Call ``done`` when ``requests`` completions of so many tokens, which travel together, are there."""
        engine = None if self._queue else self._with_room(requests)
        if engine is None:
            self._queue.append((tokens, requests, done, self.loop.now))
        else:
            self._give(engine, tokens, requests, done)

    @property
    def most_per_s(self) -> float:
        """Tokens a second where all slots are taken."""
        return self._count * self.speed.slots / self.speed.token_s(self.speed.slots)

    def pause(self, paused: bool) -> None:
        """Stop or go on; requests keep their places."""
        now = self.loop.now
        working = [engine for engine in self._members if engine.held]
        for engine in working:
            engine.advance(now)
        self.paused = paused
        for engine in working:
            engine.plan(now)

    def ended(self, engine: _Engine) -> None:
        """``engine`` holds fewer than before."""
        heappush(self._fewest, (engine.held, engine.index))
        if len(self._fewest) > 4 * len(self._members) + 64:
            self._fewest = [(each.held, each.index) for each in self._members]
            heapify(self._fewest)

    def admit(self) -> None:
        """Give to engines what has room."""
        while self._queue:
            tokens, requests, done, asked = self._queue[0]
            engine = self._with_room(requests)
            if engine is None:
                return
            self._queue.popleft()
            self.queued_s += self.loop.now - asked
            self._give(engine, tokens, requests, done)

    def _with_room(self, requests: int) -> _Engine | None:
        """The engine that holds the fewest, the first of several, if it has room; it is first in ``_fewest`` then."""
        fewest, members = self._fewest, self._members
        while fewest:
            held, index = fewest[0]
            engine = members[index]
            if engine.held != held:
                heappop(fewest)
            elif not held:
                return engine
            elif len(members) < self._count:
                break
            else:
                return engine if held + requests <= self.speed.slots else None
        engine = _Engine(self, len(members))
        members.append(engine)
        heappush(fewest, (0, engine.index))
        return engine

    def _give(self, engine: _Engine, tokens: float, requests: int, done: Callable[[], None]) -> None:
        engine.take(tokens, requests, done)
        heapreplace(self._fewest, (engine.held, engine.index))


class _Engine:
    """The requests of one engine, by the token count at which each is done."""

    __slots__ = (
        "_alone_s",
        "_beside_s",
        "_ends",
        "_pool",
        "_since",
        "_slots",
        "_taken",
        "_tokens",
        "due",
        "held",
        "index",
    )

    def __init__(self, pool: Engines, index: int) -> None:
        self.held = 0
        self.index = index
        self.due = inf  # when it looks again
        self._pool = pool
        self._alone_s, self._beside_s, self._slots = pool.speed.alone_s, pool.speed.beside_s, pool.speed.slots
        self._tokens = 0.0  # that a request held since the beginning would have by now
        self._since = 0.0
        self._ends: list[tuple[float, int, int, Callable[[], None]]] = []
        self._taken = 0

    def take(self, tokens: float, requests: int, done: Callable[[], None]) -> None:
        now = self._pool.loop.now
        self.advance(now)
        self.held += requests
        self._taken += 1
        heappush(self._ends, (self._tokens + tokens, self._taken, requests, done))
        self.plan(now)

    def advance(self, now: float) -> None:
        """Count what was generated since the last call."""
        held = self.held
        if held and not self._pool.paused:
            tokens = (now - self._since) / (self._alone_s + self._beside_s * (held - 1))
            self._tokens += tokens
            self._pool.made += tokens * (held if held < self._slots else self._slots)
        self._since = now

    def plan(self, now: float) -> None:
        """Look again when the next request is done; an earlier look, which finds none done, stays."""
        if not self._ends or self._pool.paused:
            self.due = inf
            return
        left = self._ends[0][0] - self._tokens
        when = now + left * (self._alone_s + self._beside_s * (self.held - 1)) if left > 0 else now
        if not now < self.due <= when:
            self.due = when
            self._pool.loop.at(when, self.wake)

    def wake(self) -> None:
        """End what is done, unless another look was planned since."""
        now = self._pool.loop.now
        if now != self.due:
            return
        self.due = inf
        self.advance(now)
        ends, by, ended = self._ends, self._tokens + _ROUNDING, []
        while ends and ends[0][0] <= by:
            _, _, requests, done = heappop(ends)
            self.held -= requests
            ended.append(done)
        if ended:
            self._pool.ended(self)
        self.plan(now)
        for done in ended:
            done()
        if ended:
            self._pool.admit()
