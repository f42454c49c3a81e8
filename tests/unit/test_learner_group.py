"""What the group of learner ranks says when one of them is late or dead; the ranks are stand-ins for Ray actors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from actors import learner
from tests.hang import HANG_S
from tests.learner_configs import learner as learner_config
from tracelift_ray.errors import ComponentDead, InfrastructureError
from tracelift_ray.types import TrainBatch


async def done() -> dict[str, float]:
    return {"learner/loss": 1.0}


async def late() -> dict[str, float]:
    await asyncio.sleep(HANG_S)
    return {}


async def dead() -> dict[str, float]:
    raise ComponentDead("actor", "the process is gone")


def group(monkeypatch: pytest.MonkeyPatch, *updates: Callable[[], Awaitable[Any]]) -> learner.RayLearnerGroup:
    async def result_of(call: Awaitable[Any]) -> Any:
        return await call

    def rank(update: Callable[[], Awaitable[Any]]) -> Any:
        return SimpleNamespace(update=SimpleNamespace(remote=lambda batch: update()))

    monkeypatch.setattr(learner, "result_of", result_of)
    monkeypatch.setattr(learner.ray, "put", lambda value: value)
    run: Any = SimpleNamespace(learner=learner_config(update_deadline_s=0.2))
    made = learner.RayLearnerGroup(run, placement=SimpleNamespace())  # type: ignore[arg-type]
    made.ranks = [rank(update) for update in updates]
    made.nodes = [f"10.0.0.{number}" for number in range(len(updates))]
    return made


async def test_a_late_rank_is_named_with_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InfrastructureError, match=r"learner: rank 1 on 10\.0\.0\.1 did not finish update in 0\.2 s"):
        await group(monkeypatch, done, late, done).update(TrainBatch((), 0, 0))


async def test_a_dead_rank_is_named_with_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InfrastructureError, match=r"learner: rank 2 on 10\.0\.0\.2 died during update"):
        await group(monkeypatch, done, late, dead).update(TrainBatch((), 0, 0))


async def test_the_first_rank_answers_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await group(monkeypatch, done, done).update(TrainBatch((), 0, 0)) == {"learner/loss": 1.0}
