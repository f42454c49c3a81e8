"""What is said of ranks of which one is late, dead or silent; the ranks are stand-ins for Ray actors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from actors import ranks as module
from actors.ranks import RankProcess, Ranks
from tests.hang import HANG_S
from tracelift_ray.errors import ComponentDead, LearnerLost
from tracelift_ray.usage import Usage


async def done() -> dict[str, float]:
    return {"learner/loss": 1.0}


async def late() -> dict[str, float]:
    await asyncio.sleep(HANG_S)
    return {}


async def dead() -> dict[str, float]:
    raise ComponentDead("actor", "the process is gone")


async def here() -> RankProcess:
    return RankProcess("10.0.0.9", "node", 1)


Answers = Callable[[], Awaitable[Any]]


def group(monkeypatch: pytest.MonkeyPatch, *updates: Answers, alive: Answers = here) -> Ranks:
    async def result_of(call: Awaitable[Any]) -> Any:
        return await call

    monkeypatch.setattr(module, "result_of", result_of)
    monkeypatch.setattr(module, "EVERY_S", 0.01)
    made = Ranks()
    made.actors = [
        SimpleNamespace(update=SimpleNamespace(remote=update), process=SimpleNamespace(remote=alive))
        for update in updates
    ]
    made.processes = [RankProcess(f"10.0.0.{number}", "node", 1) for number in range(len(updates))]
    return made


async def test_a_late_rank_is_named_with_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LearnerLost, match=r"learner: rank 1 on 10\.0\.0\.1 did not finish update in 0\.2 s"):
        await group(monkeypatch, done, late, done).call(0.2, "update")


async def test_a_dead_rank_is_named_with_its_node_and_none_is_called_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = group(monkeypatch, done, late, dead)
    for _ in range(2):
        with pytest.raises(LearnerLost, match=r"learner: rank 2 on 10\.0\.0\.2 died during update"):
            await ranks.call(HANG_S, "update")
    assert ranks.losses == 1


async def test_the_first_rank_answers_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = group(monkeypatch, done, done)
    assert await ranks.call(HANG_S, "update") == {"learner/loss": 1.0}
    assert await ranks.call_all(HANG_S, "update", first=True) == [{"learner/loss": 1.0}]


async def test_a_rank_that_dies_in_a_long_update_ends_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = group(monkeypatch, late, late, alive=dead)
    ranks.watch()
    with pytest.raises(LearnerLost, match=r"rank [01] on 10\.0\.0\.[01] died \(the process is gone\)"):
        await ranks.call(HANG_S, "update")


async def test_the_newest_answer_of_a_rank_says_what_it_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    used = Usage("node", 1.0, 2.0, 3.0, 4.0)

    async def working() -> RankProcess:
        return RankProcess("10.0.0.0", "node", 1, used)

    ranks = group(monkeypatch, done, alive=working)
    ranks.watch()
    while ranks.processes[0].usage is None:
        await asyncio.sleep(0.01)
    assert ranks.processes[0].usage == used
    ranks._watching[0].cancel()


async def test_a_watch_that_is_cancelled_as_an_answer_comes_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answering_into_the_end() -> RankProcess:
        asyncio.get_running_loop().call_soon(ranks._watching[0].cancel)
        return await here()

    ranks = group(monkeypatch, done, alive=answering_into_the_end)
    ranks.watch()
    (watching,), _ = await asyncio.wait(ranks._watching, timeout=HANG_S)
    assert watching.cancelled()


async def test_a_rank_that_does_not_answer_for_long_is_lost_and_one_that_is_slow_once_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = 0

    async def slow_once() -> RankProcess:
        nonlocal asked
        asked += 1
        if asked == 2:
            await asyncio.sleep(HANG_S)
        return await here()

    monkeypatch.setattr(module, "ANSWER_S", 0.05)
    monkeypatch.setattr(module, "SILENT_S", HANG_S)
    ranks = group(monkeypatch, done, alive=slow_once)
    ranks.watch()
    while asked < 5:
        await asyncio.sleep(0.01)
    assert ranks.losses == 0
    monkeypatch.setattr(module, "SILENT_S", 0.04)
    silent = group(monkeypatch, late, alive=late)
    silent.watch()
    with pytest.raises(LearnerLost, match=r"rank 0 on 10\.0\.0\.0 has not answered for"):
        await silent.call(HANG_S, "update")
    for each in (*ranks._watching, *silent._watching):
        each.cancel()
