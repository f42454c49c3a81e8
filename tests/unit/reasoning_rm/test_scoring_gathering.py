"""Requests that arrive one by one form batches, and each gets its own answer whatever becomes of its batch."""

import asyncio

import pytest

from tests.hang import HANG_S
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.reasoning_rm.scoring.gathering import Gatherer


async def test_what_arrives_while_a_batch_is_under_way_goes_together():
    batches = []

    async def double(items):
        batches.append(list(items))
        await asyncio.sleep(0.02)
        return [2 * item for item in items]

    gatherer = Gatherer(double, batch_size=4)
    first = asyncio.ensure_future(gatherer.ask(0))
    await asyncio.sleep(0.005)
    rest = await asyncio.gather(*(gatherer.ask(item) for item in range(1, 7)))
    assert (await first, rest) == (0, [2, 4, 6, 8, 10, 12])
    assert batches == [[0], [1, 2, 3, 4], [5, 6]]
    await gatherer.close()


async def test_a_failed_batch_fails_its_own_items_alone():
    async def answer(items):
        if 3 in items:
            raise KeyError("a bug")
        return list(items)

    gatherer = Gatherer(answer, batch_size=2)
    results = await asyncio.gather(*(gatherer.ask(item) for item in range(6)), return_exceptions=True)
    assert [type(result) for result in results] == [int, int, KeyError, KeyError, int, int]
    await gatherer.close()


async def test_answers_of_the_wrong_number_are_an_error_and_not_a_wait():
    async def lose_one(items):
        return list(items)[1:]

    gatherer = Gatherer(lose_one, batch_size=8)
    asked = [asyncio.ensure_future(gatherer.ask(item)) for item in range(3)]
    results = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), HANG_S)
    assert isinstance(results[-1], ValueError)
    await gatherer.close()


async def test_an_item_whose_caller_has_gone_is_not_computed():
    seen = []

    async def answer(items):
        seen.extend(items)
        await asyncio.sleep(0.02)
        return list(items)

    gatherer = Gatherer(answer, batch_size=1)
    first, second, third = (asyncio.ensure_future(gatherer.ask(item)) for item in "abc")
    await asyncio.sleep(0.005)
    second.cancel()
    assert (await first, await third) == ("a", "c")
    assert seen == ["a", "c"]
    await gatherer.close()


async def test_several_batches_may_be_under_way():
    running = most = 0

    async def answer(items):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return list(items)

    gatherer = Gatherer(answer, batch_size=1, batches=3)
    await asyncio.gather(*(gatherer.ask(item) for item in range(9)))
    assert most == 3
    await gatherer.close()


async def test_closing_leaves_nobody_waiting():
    async def never(items):
        await asyncio.sleep(3600)
        return list(items)

    gatherer = Gatherer(never, batch_size=1)
    asked = [asyncio.ensure_future(gatherer.ask(item)) for item in range(3)]
    await asyncio.sleep(0.01)
    await gatherer.close()
    results = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), HANG_S)
    assert all(isinstance(result, InfrastructureError) for result in results)
    with pytest.raises(InfrastructureError, match="closed"):
        await gatherer.ask(4)


async def test_sizes_are_those_of_the_batches_since_they_were_asked_for():
    async def answer(items):
        return items

    gatherer = Gatherer(answer, batch_size=3)
    assert gatherer.sizes() == {}
    await asyncio.gather(*(gatherer.ask(item) for item in range(4)))
    assert gatherer.sizes() == {"batch_traces_mean": 2.0} and gatherer.sizes() == {}
    await gatherer.close()
