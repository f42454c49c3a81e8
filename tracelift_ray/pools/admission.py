"""Which call goes to which member, and when: the queue of a pool.

Promises: a member never holds more calls than its capacity; lanes take turns, so that a flood of calls in one lane
does not starve another; within a lane calls start in the order in which they came, a retried one first; calls that are
near each other go to one member where it holds at most one call more than the least busy one; and a call whose caller
gives up leaves no trace. Knows nothing of what a call is, nor how long it takes.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from tracelift_ray.pools.meter import Meter


class Seat(Protocol):
    """What a call is admitted to: a member that is up holds ``busy`` of at most ``capacity`` calls."""

    busy: int
    capacity: int


S = TypeVar("S", bound=Seat)
#: How many of the names that calls are near to are remembered, the ones used last.
REMEMBERED = 4096


def _now() -> float:
    """The loop's time, which a simulation decides."""
    return asyncio.get_running_loop().time()


@dataclass(eq=False)
class _Waiter:
    """A call that waits for a member; ``avoid`` holds members that it would rather not go to, ``near`` as in
    ``Admission.enter``."""

    admitted: asyncio.Future
    avoid: Collection[object]
    near: str
    since: float


class Admission:
    """Hands out places on the members that ``seats()`` lists, each a member that is up."""

    def __init__(self, seats: Callable[[], Sequence[S]]) -> None:
        self._seats = seats
        self._meter = Meter()
        self._lanes: OrderedDict[str, deque[_Waiter]] = OrderedDict()
        self._homes: OrderedDict[str, Seat] = OrderedDict()  # where the last call near to a name went

    @property
    def waiting(self) -> int:
        """Calls that wait for a place."""
        return sum(map(len, self._lanes.values()))

    @property
    def longest_wait_s(self) -> float:
        """Seconds that the first call of any lane has waited; 0 where none does."""
        now = _now()
        return max((now - lane[0].since for lane in self._lanes.values() if lane), default=0.0)

    async def enter(
        self, lane: str, avoid: Collection[S] = (), *, first: bool = False, near: str = ""
    ) -> tuple[S, float]:
        """A place on a member, which counts the call as held from then on, and the time.

        It is the least busy member, or the one where the last call with the same ``near`` went, if that holds at most
        one call more.

        Args:
            lane: lanes take turns.
            avoid: members to leave out as long as another one is up.
            first: go before the other calls of the lane (a retry).
            near: a name for what a member may have left of a former call (the beginning of a prompt, computed); empty:
                nothing.

        Raises:
            Exception: what ``refuse_all`` was given while this call waited.
        """
        loop = asyncio.get_running_loop()
        waiter = _Waiter(loop.create_future(), avoid, near, loop.time())
        queue = self._lanes.setdefault(lane, deque())
        queue.appendleft(waiter) if first else queue.append(waiter)
        self._meter.joined(waiter.since)
        self.hand_out()
        try:
            seat: S = await waiter.admitted
        except BaseException as error:  # cancelled or refused: counted and raised again
            if isinstance(error, asyncio.CancelledError):
                self._withdraw(waiter, queue)
            now = loop.time()
            self._meter.gave_up(now - waiter.since, now)
            raise
        now = loop.time()
        self._meter.admitted(now - waiter.since)
        return seat, now

    def leave(self, seat: Seat, since: float) -> None:
        """The place of one call on ``seat``, which held it ``since`` then, is free again."""
        now = _now()
        self._meter.left(now - since, now)
        self._free(seat)

    def figures(self) -> dict[str, float]:
        """Waits, times at members and idle time since they were asked for last."""
        return self._meter.read(_now())

    def hand_out(self) -> None:
        """Admit every call for which there is a place now. Called whenever a place may have become free."""
        while self._lanes and self._admit_from_next_lane():
            pass

    def refuse_all(self, failure: Exception) -> None:
        """End every wait with ``failure``: there will be no place."""
        for lane in self._lanes.values():
            while lane:
                waiter = lane.popleft()
                if not waiter.admitted.done():
                    waiter.admitted.set_exception(failure)

    def _withdraw(self, waiter: _Waiter, queue: deque[_Waiter]) -> None:
        """A caller gives up: its call leaves the queue, or the place that it was just given."""
        admitted = waiter.admitted
        if waiter in queue:
            queue.remove(waiter)
        elif admitted.done() and not admitted.cancelled() and admitted.exception() is None:
            self._free(admitted.result())

    def _free(self, seat: Seat) -> None:
        seat.busy -= 1
        self.hand_out()

    def _admit_from_next_lane(self) -> bool:
        """Admit the first call of the lane whose turn it is; False where no member has room."""
        name, lane = next(iter(self._lanes.items()))
        while lane and lane[0].admitted.done():
            lane.popleft()  # given up by its caller
        if not lane:
            del self._lanes[name]
            return True
        seat = self._seat_for(lane[0])
        if seat is None:
            return False
        seat.busy += 1
        self._remember(lane[0].near, seat)
        lane.popleft().admitted.set_result(seat)
        self._lanes.move_to_end(name)
        return True

    def _seat_for(self, waiter: _Waiter) -> Seat | None:
        up = self._seats()
        wanted = ([seat for seat in up if seat not in waiter.avoid] if waiter.avoid else up) or up
        free = [seat for seat in wanted if seat.busy < seat.capacity]
        least = min(free, key=lambda seat: seat.busy / seat.capacity, default=None)
        home = self._homes.get(waiter.near)
        if least is None or home is None or home not in free:
            return least
        return home if (home.busy - 1) / home.capacity <= least.busy / least.capacity else least

    def _remember(self, near: str, seat: Seat) -> None:
        if not near:
            return
        self._homes[near] = seat
        self._homes.move_to_end(near)
        if len(self._homes) > REMEMBERED:
            self._homes.popitem(last=False)
