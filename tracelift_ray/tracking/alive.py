"""Signs of life during long work: what is going on, again and again, until the work ends."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from time import monotonic

#: Nobody who watches waits longer than this for a line.
SILENT_S = 10.0
#: How often work that reports to a console is looked at; the console prints where it was silent.
TICK_S = 2.0


@contextlib.asynccontextmanager
async def alive(
    say: Callable[[str], None], describe: Callable[[], str | None], every_s: float = TICK_S
) -> AsyncIterator[None]:
    """While the block runs, ``say`` gets what ``describe`` returns, every ``every_s`` seconds; None is not said."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(every_s)
            if (text := describe()) is not None:
                say(text)

    beating = asyncio.ensure_future(beat())
    try:
        yield
    finally:
        beating.cancel()


@dataclass(frozen=True)
class _Phase:
    """A part of some work: when it began, at what count, and how far it is."""

    what: str
    began: float
    first: int
    done: int
    total: int

    def line(self) -> str:
        elapsed_s = monotonic() - self.began
        if not self.total:
            return f"{self.what}, {clock_time(elapsed_s)} so far"
        left = time_left(self.done - self.first, self.total - self.first, elapsed_s)
        return f"{self.what}: {self.done:,} of {self.total:,}, ETA {left}"


class Heartbeat:
    """What work that holds its thread does now, and when something was said of it. Made by ``heartbeat``."""

    def __init__(self, say: Callable[[str], None], what: str) -> None:
        self._say = say
        self._said = monotonic()
        self._phases: dict[str, _Phase] = {}
        self.doing(what)

    def doing(self, what: str, done: int = 0, total: int = 0) -> None:
        """The work is at ``what``, with ``done`` of ``total`` where they can be counted; fewer than before: again."""
        known = self._phases.get(what)
        if known is None or done < known.done:
            self._phase = _Phase(what, monotonic(), done, done, total)
        else:
            self._phase = _Phase(what, known.began, known.first, done, total)
        self._phases[what] = self._phase

    def begin(self, what: str) -> None:
        """Say that ``what`` begins."""
        self.doing(what)
        self.say(what)

    def say(self, line: str) -> None:
        """A line of the work itself, after which it may be silent again."""
        self._said = monotonic()
        self._say(line)

    def heard(self) -> None:
        """Others spoke, who speak every ``SILENT_S`` by themselves; nothing is due for twice that."""
        self._said = monotonic() + SILENT_S

    def quiet_for(self) -> float:
        """Seconds that may still pass without a line; 0 or less: one is due."""
        return self._said + SILENT_S - monotonic()

    def beat(self) -> None:
        """Say what goes on, where nothing else was said."""
        if self.quiet_for() <= 0:
            self.say(self._phase.line())


@contextlib.contextmanager
def heartbeat(say: Callable[[str], None], what: str) -> Iterator[Heartbeat]:
    """``alive`` for work that holds its thread: another thread says what goes on wherever ``SILENT_S`` pass in silence.

    Args:
        say: gets one line; it is called from either thread.
        what: the work begins with.
    """
    beat, ended = Heartbeat(say, what), threading.Event()

    def run() -> None:
        with contextlib.suppress(OSError):  # a log that takes no more ends no work
            while not ended.wait(max(0.0, beat.quiet_for())):
                beat.beat()

    beating = threading.Thread(target=run, name="heartbeat", daemon=True)
    beating.start()
    try:
        yield beat
    finally:
        ended.set()
        beating.join(SILENT_S)


def time_left(done: int, total: int, elapsed_s: float) -> str:
    """The rest of ``total`` at the pace so far, as h:mm:ss; ``?`` before anything is done."""
    return clock_time(elapsed_s / done * (total - done)) if done else "?"


def clock_time(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
