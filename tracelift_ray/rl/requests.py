"""What is asked of a run from outside while it works: to end in order, or to save now and go on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class Interrupted(Exception):
    """The run was asked to end; the planner is saved and the pools may be closed."""


class Requests:
    """Asked from a signal's handler on the loop's own thread; the training loop honours them where it can."""

    def __init__(self) -> None:
        self._stop = asyncio.Event()
        self._save = asyncio.Event()

    def stop(self) -> None:
        """Ask the run to end in order."""
        self._stop.set()

    def save(self) -> None:
        """Ask for a checkpoint of the last finished step."""
        self._save.set()

    @property
    def stopping(self) -> bool:
        """Whether the run was asked to end."""
        return self._stop.is_set()

    def take_save(self) -> bool:
        """Whether a checkpoint is asked for; it then is no longer."""
        asked = self._save.is_set()
        self._save.clear()
        return asked

    async def unless_stopped(self, work: Coroutine[Any, Any, Result], save: Callable[[], Awaitable[None]]) -> Result:
        """``work``'s result, or ``Interrupted`` as soon as the run is asked to end, with ``work`` cancelled.

        ``save`` is awaited where a checkpoint is asked for meanwhile; ``work`` goes on beside it.
        """
        working = asyncio.ensure_future(work)
        asked = [asyncio.ensure_future(each.wait()) for each in (self._stop, self._save)]
        try:
            while not self.stopping and not working.done():
                await asyncio.wait([working, *asked], return_when=asyncio.FIRST_COMPLETED)
                if not self.stopping and self.take_save():
                    asked[1] = asyncio.ensure_future(self._save.wait())
                    await save()
            if not self.stopping:
                return await working
        finally:
            for each in asked:
                each.cancel()
            if not working.done():
                working.cancel()
        raise Interrupted

    async def give_up_when_stopped(
        self, work: Coroutine[Any, Any, Result], give_up: Callable[[], Awaitable[None]]
    ) -> Result:
        """``work``'s result, which ``give_up`` brings about sooner where the run is asked to end."""
        working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                await give_up()
            return await working
        finally:
            stopping.cancel()
            if not working.done():
                working.cancel()


async def beside(work: Coroutine[Any, Any, Result], other: asyncio.Future[Any] | None) -> Result:
    """``work``'s result; where it fails or is cancelled, the ``other`` that runs beside it is ended first."""
    try:
        return await work
    except BaseException:
        if other is not None:
            other.cancel()
            await asyncio.gather(other, return_exceptions=True)
        raise
