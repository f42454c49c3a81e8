"""Says which stage of a run holds what, since when, and which member, once nothing has progressed for a while.

Progress is a call that ends, a stage of the loop that is entered or left, a group that changes its state, a step.
``Watchdog.line`` is asked again and again; it knows no Ray and no clock but the one it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tracelift_ray.pools.held import PoolState
from tracelift_ray.rl.ledger import OPEN_STATES

if TYPE_CHECKING:
    from tracelift_ray.rl.loop import TrainingLoop


@dataclass(frozen=True)
class Snapshot:
    """A run at a moment; times are the clock's.

    Attributes:
        step: the step that is made.
        stages: what the loop is in, by the time it entered.
        groups: groups that have not ended, by state.
        pools: what every pool holds.
        passed: a number that differs once anything else has progressed.
    """

    step: int
    stages: Mapping[str, float]
    groups: Mapping[str, int]
    pools: tuple[PoolState, ...]
    passed: int = 0


class Stages:
    """The stages of the loop that are under way, and how many were entered or left so far. ``observe`` hears of each
    that is left, and since when it was under way."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.under_way: dict[str, float] = {}
        self.passed = 0
        self.observe: Callable[[str, float], None] | None = None
        self._clock = clock

    @contextmanager
    def within(self, stage: str) -> Iterator[None]:
        """The loop is in ``stage`` inside the ``with`` block."""
        self.under_way[stage] = self._clock()
        self.passed += 1
        try:
            yield
        finally:
            since = self.under_way.pop(stage)
            self.passed += 1
            if self.observe is not None:
                self.observe(stage, since)


class Watchdog:
    """Compares snapshots. The first line comes after ``quiet_s``, each further one when that has doubled."""

    def __init__(self, look: Callable[[], Snapshot], quiet_s: float, clock: Callable[[], float]) -> None:
        self._look = look
        self._quiet_s = self._next_s = quiet_s
        self._clock = clock
        self._seen: Any = None
        self._since = clock()

    def line(self) -> str | None:
        """What holds the run up, where that is due now."""
        snapshot, now = self._look(), self._clock()
        seen = progress(snapshot)
        if seen != self._seen:
            self._seen, self._since, self._next_s = seen, now, self._quiet_s
            return None
        if not self._quiet_s or now - self._since < self._next_s:
            return None
        self._next_s *= 2
        return describe(snapshot, now, now - self._since)


def snapshot(loop: TrainingLoop, pools: Iterable[PoolState]) -> Snapshot:
    """A training loop over pools, now."""
    ledger = loop.scheduler.ledger
    return Snapshot(
        loop.progress.step + 1,
        dict(loop.stages.under_way),
        {state: ledger.count(state) for state in OPEN_STATES},
        tuple(pools),
        loop.stages.passed + ledger.submitted,
    )


def progress(snapshot: Snapshot) -> tuple[Any, ...]:
    """Equal for two snapshots between which nothing progressed."""
    ended = tuple(pool.ended for pool in snapshot.pools)
    return snapshot.step, snapshot.passed, tuple(sorted(snapshot.groups.items())), ended


def describe(snapshot: Snapshot, now: float, quiet_s: float) -> str:
    """One line: the loop's stage, then pool by pool who holds what, those that hold something the longest first."""
    stages = [f"{stage} for {now - since:.0f} s" for stage, since in snapshot.stages.items()]
    groups = [f"{_counted(count, 'group')} {state}" for state, count in snapshot.groups.items() if count]
    pools = sorted(snapshot.pools, key=lambda pool: _oldest(pool, now))
    parts = [", ".join(groups) or "no group is open", *(part for pool in pools for part in _parts(pool, now))]
    doing = f"in {' and '.join(stages)}" if stages else "between two stages"
    return f"nothing has progressed for {quiet_s:.0f} s: step {snapshot.step} is {doing}; {'; '.join(parts)}"


def _oldest(pool: PoolState, now: float) -> float:
    return min((held.since for held in pool.held), default=now)


def _parts(pool: PoolState, now: float) -> Iterable[str]:
    for held in pool.held:
        calls = _counted(held.calls, f"{held.method} call")
        oldest = ", the oldest" if held.calls > 1 else ""
        yield f"{pool.name}[{held.member}] holds {calls}{oldest} for {now - held.since:.0f} s"
    if pool.queued:
        waiting = "calls wait" if pool.queued > 1 else "call waits"
        yield f"{pool.queued} {waiting} for a place in {pool.name}, the first for {now - pool.queued_since:.0f} s"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count > 1 else ''}"
