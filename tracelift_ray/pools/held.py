"""Which calls the members of a pool hold, since when, and how many have ended: what a watchdog looks at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
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
        self._calls: set[_Call] = set()

    def one(self, member: str, method: str) -> _Call:
        """A call, which is held inside a ``with`` block."""
        return _Call(self, member, method)

    def held(self) -> tuple[Held, ...]:
        """All calls by member and method, the longest first."""
        since: dict[tuple[str, str], list[float]] = {}
        for call in self._calls:
            since.setdefault((call.member, call.method), []).append(call.since)
        held = (Held(*key, len(began), min(began)) for key, began in since.items())
        return tuple(sorted(held, key=lambda each: (each.since, each.member, each.method)))


class _Call:
    """A class: there is one for every call of a pool, and a generator's context manager takes longer."""

    __slots__ = ("_account", "member", "method", "since")

    def __init__(self, account: HeldCalls, member: str, method: str) -> None:
        self._account = account
        self.member, self.method = member, method
        self.since = 0.0

    def __enter__(self) -> None:
        self.since = asyncio.get_running_loop().time()
        self._account._calls.add(self)

    def __exit__(self, *_: object) -> None:
        account = self._account
        account._calls.remove(self)
        account.ended += self.method != HEALTH
        if account.observe is not None:
            account.observe(self.member, self.method, self.since)
