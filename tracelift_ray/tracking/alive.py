"""Signs of life during long work: what is going on, again and again, until the work ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

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


def time_left(done: int, total: int, elapsed_s: float) -> str:
    """The rest of ``total`` at the pace so far, as h:mm:ss; ``?`` before anything is done."""
    return clock_time(elapsed_s / done * (total - done)) if done else "?"


def clock_time(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
