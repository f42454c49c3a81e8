"""Where the wall time of a step goes, by phase.

A phase counts the time during which at least one of its sections is open, so sections that overlap (asyncio tasks of
one phase) are not counted twice and a phase's share never exceeds 1. Different phases may overlap, as generation and
learning do when the stream runs ahead; then their shares sum to more than 1. One thread only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class PhaseClock:
    """Accumulates the busy seconds of named phases since the last reading.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._busy: dict[str, float] = {}
        self._open: dict[str, tuple[int, float]] = {}  # phase: (open sections, since when)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time inside the ``with`` block to ``name``, errors and cancellation included."""
        count, since = self._open.get(name, (0, self._clock()))
        self._open[name] = (count + 1, since)
        try:
            yield
        finally:
            count, since = self._open.pop(name)
            if count > 1:
                self._open[name] = (count - 1, since)
            else:
                self._busy[name] = self._busy.get(name, 0.0) + self._clock() - since

    def read(self) -> dict[str, float]:
        """Metrics since the last reading; the next one starts here.

        Returns:
            ``time/step_s`` (seconds) and, for every phase seen, ``time/{phase}`` (share of those seconds, 0 to 1).
            Sections still open count up to now and go on in the next reading.
        """
        now = self._clock()
        for name, (count, since) in self._open.items():
            self._busy[name] = self._busy.get(name, 0.0) + now - since
            self._open[name] = (count, now)
        wall = now - self._started
        shares = {f"time/{name}": busy / wall if wall > 0 else 0.0 for name, busy in self._busy.items()}
        self._started, self._busy = now, dict.fromkeys(self._busy, 0.0)
        return {"time/step_s": wall, **shares}
