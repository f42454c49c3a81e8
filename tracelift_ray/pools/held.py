"""Which calls the members of a pool hold, since when, and how many have ended: what a watchdog looks at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

#: The question to a member that moves nothing on.
HEALTH = "health"


@dataclass(frozen=True)
class Held:
    """``calls`` of one method that one member holds, and when the oldest was dispatched (the loop's time)."""

    member: str
    method: str
    calls: int
    since: float


@dataclass(frozen=True)
class PoolState:
    """What a pool holds at a moment.

    Attributes:
        held: by member and method, the longest first.
        queued: calls that wait for a place, the first of them since ``queued_since``.
        ended: calls that have ended so far, well or not, health checks apart.
    """

    name: str
    held: tuple[Held, ...]
    queued: int
    queued_since: float
    ended: int


class HeldCalls:
    """The account of a pool's dispatched calls. ``observe`` hears of each that ends: member, method, its begin."""

    def __init__(self) -> None:
        self.ended = 0
        self.observe: Callable[[str, str, float], None] | None = None
        self._calls: dict[object, tuple[str, str, float]] = {}

    @contextmanager
    def one(self, member: str, method: str) -> Iterator[None]:
        """A call is held inside the ``with`` block."""
        call = object()
        self._calls[call] = (member, method, asyncio.get_running_loop().time())
        try:
            yield
        finally:
            _, _, since = self._calls.pop(call)
            self.ended += method != HEALTH
            if self.observe is not None:
                self.observe(member, method, since)

    def held(self) -> tuple[Held, ...]:
        """All calls by member and method, the longest first."""
        since: dict[tuple[str, str], list[float]] = {}
        for member, method, began in self._calls.values():
            since.setdefault((member, method), []).append(began)
        held = (Held(*key, len(began), min(began)) for key, began in since.items())
        return tuple(sorted(held, key=lambda each: (each.since, each.member, each.method)))
