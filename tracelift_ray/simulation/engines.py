"""Modelled engines: requests that an engine holds at the same time share its speed (processor sharing, exactly).

Times are those of the running event loop; nothing is generated.
"""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass

from tracelift_ray.config.rules import NotNegative, Positive, PositiveCount


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


class Engines:
    """A pool of engines; a request goes to the one that holds the fewest, or queues."""

    def __init__(self, members: int, speed: Speed) -> None:
        self.speed = speed
        self._loads = [_Load(self) for _ in range(members)]
        self._queue: list[tuple[int, float, int, asyncio.Future[None]]] = []
        self._asked = 0
        self.worked_s = 0.0
        self.queued_s = 0.0

    async def generate(self, tokens: int, requests: int = 1) -> None:
        """Return when ``requests`` completions of so many tokens, which travel together, are there."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        asked = loop.time()
        self._asked += 1
        heapq.heappush(self._queue, (self._asked, tokens, requests, done))
        self._admit()
        began = loop.time()
        await done
        self.queued_s += max(0.0, began - asked)

    def pause(self, paused: bool) -> None:
        """Stop or go on; requests keep their places."""
        for load in self._loads:
            load.pause(paused)

    def _admit(self) -> None:
        while self._queue:
            load = min(self._loads, key=_held)
            _, tokens, requests, done = self._queue[0]
            if load.held and load.held + requests > self.speed.slots:
                return
            heapq.heappop(self._queue)
            load.take(tokens, requests, done)

    def left(self) -> None:
        """A member has room."""
        self._admit()


class _Load:
    """The requests of one engine, by the token count at which each is done."""

    def __init__(self, pool: Engines) -> None:
        self.held = 0
        self._pool = pool
        self._tokens = 0.0  # that a request held since the beginning would have by now
        self._since = 0.0
        self._paused = False
        self._ends: list[tuple[float, int, int, asyncio.Future[None]]] = []
        self._taken = 0
        self._timer: asyncio.TimerHandle | None = None

    def take(self, tokens: float, requests: int, done: asyncio.Future[None]) -> None:
        self._advance()
        self.held += requests
        self._taken += 1
        heapq.heappush(self._ends, (self._tokens + tokens, self._taken, requests, done))
        self._set_timer()

    def pause(self, paused: bool) -> None:
        self._advance()
        self._paused = paused
        self._set_timer()

    def _advance(self) -> None:
        now = asyncio.get_running_loop().time()
        if self.held and not self._paused:
            self._tokens += (now - self._since) / self._pool.speed.token_s(self.held)
            self._pool.worked_s += (now - self._since) * min(self.held, self._pool.speed.slots)
        self._since = now

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ends and not self._paused:
            left = max(0.0, self._ends[0][0] - self._tokens)
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(left * self._pool.speed.token_s(self.held), self._end)

    def _end(self) -> None:
        self._timer = None
        self._advance()
        _, _, requests, done = heapq.heappop(self._ends)
        self.held -= requests
        if not done.done():
            done.set_result(None)
        self._set_timer()
        self._pool.left()


def _held(load: _Load) -> int:
    return load.held
