"""How long the calls of a pool waited and took, how many waited, and how long the pool had nothing to do.

A reading covers the time since the one before. The times of the newest ``KEPT`` calls of a reading are kept for the
percentiles, so memory is bounded. All times are seconds of one clock, which the caller reads.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection

#: Calls whose times are kept between two readings.
KEPT = 4096


class Meter:
    """Follows calls: each joins the queue, then is admitted to a member and leaves it, or gives up in the queue."""

    def __init__(self) -> None:
        self._since: float | None = None  # when the present reading began
        self._empty_since: float | None = None  # None: there are calls
        self._held = 0
        self._calls = 0
        self._idle_s = self._waited_s = 0.0
        self._queue: deque[float] = deque(maxlen=KEPT)
        self._work: deque[float] = deque(maxlen=KEPT)

    def joined(self, now: float) -> None:
        """A call joins the queue."""
        if not self._held:
            self._end_idle(now)
        self._held += 1

    def admitted(self, waited_s: float) -> None:
        """A call goes to a member."""
        self._waited_s += waited_s
        self._queue.append(waited_s)

    def gave_up(self, waited_s: float, now: float) -> None:
        """A call ends in the queue."""
        self._waited_s += waited_s
        self._held -= 1
        if not self._held:
            self._empty_since = now

    def left(self, worked_s: float, now: float) -> None:
        """A call leaves its member, with a result or without."""
        self._calls += 1
        self._work.append(worked_s)
        self._held -= 1
        if not self._held:
            self._empty_since = now

    def read(self, now: float) -> dict[str, float]:
        """Figures since the last reading; those that need a call are absent without one.

        Returns:
            ``queue_p50_s``, ``queue_p95_s``, ``call_p50_s`` and ``call_p95_s``; ``calls_per_s``; ``queued_mean``, the
            average length of the queue, from the waits that ended (Little's law); ``idle``, the share of the time in
            which the pool held no call, 0 to 1.
        """
        if not self._held:
            self._end_idle(now)
            self._empty_since = now
        seconds = 0.0 if self._since is None else now - self._since
        figures = _percentiles("queue", self._queue) | _percentiles("call", self._work)
        if seconds > 0:
            figures |= {
                "calls_per_s": self._calls / seconds,
                "queued_mean": self._waited_s / seconds,
                "idle": self._idle_s / seconds,
            }
        self._since, self._calls, self._idle_s, self._waited_s = now, 0, 0.0, 0.0
        self._queue.clear()
        self._work.clear()
        return figures

    def _end_idle(self, now: float) -> None:
        if self._since is None:
            self._since = now
        if self._empty_since is not None:
            self._idle_s += now - self._empty_since
            self._empty_since = None


def _percentiles(name: str, seconds: Collection[float]) -> dict[str, float]:
    """By nearest rank; nothing of nothing."""
    ordered = sorted(seconds)
    return {f"{name}_p{of}_s": ordered[math.ceil(of / 100 * len(ordered)) - 1] for of in (50, 95) if ordered}
