"""Entering one thing beside others: the actors of a run start while its data are checked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from tracelift_ray.tracking.tracker import Tracker

T = TypeVar("T")


class EnteredBeside(Generic[T]):
    """A context manager that is entered in a task of its own. Made by ``entered_beside``."""

    def __init__(self, manager: AbstractAsyncContextManager[T], stack: AsyncExitStack) -> None:
        self._manager = manager
        self._stack = stack
        self._entering: asyncio.Task[T] | None = None

    def begin(self) -> None:
        """Begin to enter it, if that was not begun."""
        if self._entering is None:
            self._entering = asyncio.create_task(self._stack.enter_async_context(self._manager))

    async def entered(self) -> T:
        """What the manager gives, once it is entered; what it raises instead."""
        self.begin()
        assert self._entering is not None
        return await self._entering

    async def give_up(self) -> None:
        """End the entering that is under way."""
        if self._entering is not None:
            self._entering.cancel()
            await asyncio.wait([self._entering])
            if not self._entering.cancelled():
                self._entering.exception()  # Raised where it was awaited; else what ended the block comes first.


@contextlib.asynccontextmanager
async def entered_beside(manager: AbstractAsyncContextManager[T]) -> AsyncIterator[EnteredBeside[T]]:
    """Inside the ``async with`` the manager can be entered beside other work; at its end it is left again."""
    async with AsyncExitStack() as stack:
        beside = EnteredBeside(manager, stack)
        try:
            yield beside
        finally:
            await beside.give_up()


class Voice:
    """Says lines on the terminal, and through the tracker once it has one."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.tracker: Tracker | None = None

    def message(self, line: str) -> None:
        """A line that is always said."""
        (self._say if self.tracker is None else self.tracker.message)(line)

    def progress(self, line: str) -> None:
        """A line for where nothing else is said; before there is a tracker the work beside speaks."""
        if self.tracker is not None:
            self.tracker.progress(line)
