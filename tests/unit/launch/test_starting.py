"""Entering a system beside the checks of data."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from launch.starting import Voice, entered_beside


class System:
    """Comes up when it is let, notes what became of it."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.may_start = asyncio.Event()
        self.events: list[str] = []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        self.events.append("starts")
        try:
            await self.may_start.wait()
            if self.failure is not None:
                raise self.failure
        except BaseException as error:
            self.events.append(type(error).__name__)
            raise
        self.events.append("up")
        try:
            yield "the system"
        finally:
            self.events.append("down")


async def test_it_starts_beside_other_work_and_goes_down_at_the_end() -> None:
    system = System()
    async with entered_beside(system.running()) as starting:
        starting.begin()
        await asyncio.sleep(0)
        assert system.events == ["starts"]
        system.may_start.set()
        assert await starting.entered() == "the system"
        assert await starting.entered() == "the system"
    assert system.events == ["starts", "up", "down"]


async def test_it_starts_when_it_is_asked_for_and_never_otherwise() -> None:
    asked, unasked = System(), System()
    asked.may_start.set()
    async with entered_beside(asked.running()) as starting:
        assert await starting.entered() == "the system"
    manager = unasked.running()
    async with entered_beside(manager):
        pass
    assert asked.events == ["starts", "up", "down"] and unasked.events == []


async def test_where_the_work_beside_fails_a_half_started_system_is_ended() -> None:
    system = System()
    with pytest.raises(ValueError, match="no data"):
        async with entered_beside(system.running()) as starting:
            starting.begin()
            await asyncio.sleep(0)
            raise ValueError("no data")
    assert system.events == ["starts", "CancelledError"]


async def test_where_both_fail_the_work_beside_is_what_is_said() -> None:
    system = System(RuntimeError("no cluster"))
    system.may_start.set()
    with pytest.raises(ValueError, match="no data"):
        async with entered_beside(system.running()) as starting:
            starting.begin()
            await asyncio.sleep(0)
            raise ValueError("no data")
    assert system.events == ["starts", "RuntimeError"]


async def test_a_system_that_does_not_come_up_says_so_where_it_is_needed() -> None:
    system = System(RuntimeError("no cluster"))
    system.may_start.set()
    with pytest.raises(RuntimeError, match="no cluster"):
        async with entered_beside(system.running()) as starting:
            starting.begin()
            await starting.entered()


async def test_who_is_cancelled_while_it_starts_leaves_nothing_up() -> None:
    system = System()

    async def train() -> None:
        async with entered_beside(system.running()) as starting:
            await starting.entered()

    training = asyncio.create_task(train())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    training.cancel()
    with pytest.raises(asyncio.CancelledError):
        await training
    assert system.events == ["starts", "CancelledError"]


def test_a_voice_speaks_through_the_tracker_once_it_has_one() -> None:
    said: list[str] = []

    class Recording:
        def message(self, line: str) -> None:
            said.append(f"tracker: {line}")

        progress = message

    voice = Voice(said.append)
    voice.message("a")
    voice.progress("others speak")
    voice.tracker = Recording()  # type: ignore[assignment]
    voice.message("b")
    voice.progress("c")
    assert said == ["a", "tracker: b", "tracker: c"]
