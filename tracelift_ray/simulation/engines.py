"""Modelled engines: requests that an engine holds at the same time share its speed (processor sharing, exactly).

Times are those of the loop's virtual clock; nothing is generated. A request costs a few entries of a heap, no task and
no timer, so that thousands of engines are simulated faster than they would work.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
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
        self.events: list[tuple[float, int, _Engine]] = []
        self._asked = 0

    def wake(self, when: float, engine: _Engine) -> None:
        """Call ``engine.wake`` at ``when``, unless it is due at another time by then."""
        self._asked += 1
        heapq.heappush(self.events, (when, self._asked, engine))

    def _run_once(self) -> None:
        events, timers = self.events, self._timers
        while timers and timers[0].cancelled():
            heapq.heappop(timers)._scheduled = False  # type: ignore[attr-defined]
        while events and not self._queue and not (timers and timers[0].when() < events[0][0]):
            when, _, engine = heapq.heappop(events)
            if when == engine.due:
                self._now = when
                engine.wake()
        super()._run_once()


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
        self._members = [_Engine(self, index) for index in range(members)]
        self._fewest = [(0, index) for index in range(members)]  # with entries of the past, which say another number
        self._queue: deque[tuple[float, int, Callable[[], None], float]] = deque()

    def generate(self, tokens: float, requests: int, done: Callable[[], None]) -> None:
        """Call ``done`` when ``requests`` completions of so many tokens, which travel together, are there."""
        self._queue.append((tokens, requests, done, self.loop.time()))
        if len(self._queue) == 1:
            self.admit()

    @property
    def most_per_s(self) -> float:
        """Tokens a second where all slots are taken."""
        return len(self._members) * self.speed.slots / self.speed.token_s(self.speed.slots)

    def pause(self, paused: bool) -> None:
        """Stop or go on; requests keep their places."""
        for engine in self._members:
            engine.advance()
        self.paused = paused
        for engine in self._members:
            engine.plan()

    def admit(self) -> None:
        """Give to engines what has room."""
        while self._queue:
            tokens, requests, done, asked = self._queue[0]
            engine = self._emptiest()
            if engine.held and engine.held + requests > self.speed.slots:
                return
            self._queue.popleft()
            self.queued_s += self.loop.time() - asked
            engine.take(tokens, requests, done)

    def changed(self, engine: _Engine) -> None:
        """``engine`` holds another number than before."""
        heapq.heappush(self._fewest, (engine.held, engine.index))
        if len(self._fewest) > 4 * len(self._members) + 64:
            self._fewest = sorted((each.held, each.index) for each in self._members)

    def _emptiest(self) -> _Engine:
        while True:
            held, index = self._fewest[0]
            if self._members[index].held == held:
                return self._members[index]
            heapq.heappop(self._fewest)


class _Engine:
    """The requests of one engine, by the token count at which each is done."""

    __slots__ = ("_ends", "_pool", "_since", "_taken", "_tokens", "due", "held", "index")

    def __init__(self, pool: Engines, index: int) -> None:
        self.held = 0
        self.index = index
        self.due = inf  # when it looks again
        self._pool = pool
        self._tokens = 0.0  # that a request held since the beginning would have by now
        self._since = 0.0
        self._ends: list[tuple[float, int, int, Callable[[], None]]] = []
        self._taken = 0

    def take(self, tokens: float, requests: int, done: Callable[[], None]) -> None:
        self.advance()
        self.held += requests
        self._taken += 1
        heapq.heappush(self._ends, (self._tokens + tokens, self._taken, requests, done))
        self._pool.changed(self)
        self.plan()

    def advance(self) -> None:
        """Count what was generated since the last call."""
        pool, now = self._pool, self._pool.loop.time()
        if self.held and not pool.paused:
            tokens = (now - self._since) / pool.speed.token_s(self.held)
            self._tokens += tokens
            pool.made += tokens * min(self.held, pool.speed.slots)
        self._since = now

    def plan(self) -> None:
        """Look again when the next request is done; an earlier look, which finds none done, stays."""
        pool = self._pool
        if not self._ends or pool.paused:
            self.due = inf
            return
        left = max(0.0, self._ends[0][0] - self._tokens)
        when = pool.loop.time() + left * pool.speed.token_s(self.held)
        if not pool.loop.time() < self.due <= when:
            self.due = when
            pool.loop.wake(when, self)

    def wake(self) -> None:
        """End what is done."""
        self.due = inf
        self.advance()
        ended = []
        while self._ends and self._ends[0][0] <= self._tokens + _ROUNDING:
            _, _, requests, done = heapq.heappop(self._ends)
            self.held -= requests
            ended.append(done)
        if ended:
            self._pool.changed(self)
        self.plan()
        for done in ended:
            done()
        self._pool.admit()
