"""Batches of calls to an actor: who gets which answer, cancellation, and the loss of the actor. No Ray runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from actors.mailbox import Mailbox, Worker
from tests.hang import HANG_S
from tracelift_ray.errors import ComponentDead, InfrastructureError


class Owner:
    """What an actor does."""

    def __init__(self) -> None:
        self.ended: list[float] = []

    async def after(self, ticks: int, value: str) -> str:
        try:
            for _ in range(ticks):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.ended.append(ticks)
            raise
        return value

    async def fail(self, error: Exception) -> None:
        raise error


class Remote:
    """A method of an actor's handle."""

    def __init__(self, method: Callable[..., Awaitable[Any]]) -> None:
        self.method = method
        self.calls = 0

    def remote(self, *args: Any) -> Awaitable[Any]:
        self.calls += 1
        return asyncio.ensure_future(self.method(*args))


class Actor:
    """An actor's handle without Ray; ``die`` ends every call that waits for answers."""

    def __init__(self) -> None:
        self.owner, self.worker = Owner(), Worker()
        self.dead = asyncio.Event()
        self.accept = Remote(lambda letters, withdrawn: self.worker.accept(self.owner, letters, withdrawn))
        self.answers = Remote(self._answers)

    async def _answers(self) -> Any:
        answers, dead = asyncio.ensure_future(self.worker.answers()), asyncio.ensure_future(self.dead.wait())
        await asyncio.wait([answers, dead], return_when=asyncio.FIRST_COMPLETED)
        if self.dead.is_set():
            answers.cancel()
            raise ComponentDead("actor", "it died")
        dead.cancel()
        return await answers


async def result_of(call: Awaitable[Any]) -> Any:
    return await call


def mailbox() -> tuple[Actor, Mailbox]:
    actor = Actor()
    return actor, Mailbox(actor, result_of)


async def test_calls_of_one_turn_travel_together_and_each_gets_its_own_answer_without_waiting_for_a_slow_one() -> None:
    actor, box = mailbox()
    slow = asyncio.ensure_future(box.call("after", 10**6, "slow"))
    answers = await asyncio.gather(*(box.call("after", index % 5, f"{index}") for index in range(100)))
    assert answers == [f"{index}" for index in range(100)]
    assert actor.accept.calls == 1 and actor.answers.calls < 20
    assert not slow.done()
    slow.cancel()


async def test_a_call_that_is_given_up_ends_in_the_actor_and_the_others_go_on() -> None:
    actor, box = mailbox()
    given_up, kept = (asyncio.ensure_future(box.call("after", ticks, "x")) for ticks in (10**6, 50))
    await asyncio.sleep(0.01)
    given_up.cancel()
    assert await kept == "x"
    async with asyncio.timeout(HANG_S):
        while actor.owner.ended != [10**6]:
            await asyncio.sleep(0)


async def test_failures_arrive_as_what_they_are() -> None:
    _, box = mailbox()
    with pytest.raises(InfrastructureError, match="no room"):
        await box.call("fail", InfrastructureError("engine", "no room"))
    with pytest.raises(KeyError, match="missing") as caught:
        await box.call("fail", KeyError("missing"))
    assert "in fail" in caught.value.__notes__[0], "where it arose"

    class Local(Exception):
        """Nothing that can be pickled."""

    with pytest.raises(RuntimeError, match="Local: here only"):
        await box.call("fail", Local("here only"))


async def test_every_call_that_waits_hears_of_the_actors_death_and_later_ones_too() -> None:
    actor, box = mailbox()
    calls = [asyncio.ensure_future(box.call("after", 10**6, "x")) for _ in range(3)]
    await asyncio.sleep(0.01)
    actor.dead.set()
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(outcome, ComponentDead)
    with pytest.raises(ComponentDead):
        await box.call("after", 0, "x")
