"""What the learner's ranks say of their losses; the ranks are stand-ins for Ray actors."""

from __future__ import annotations

from collections.abc import Awaitable
from types import SimpleNamespace
from typing import Any

import pytest

from actors import learner, ranks
from actors.learner import RayLearnerGroup
from actors.placement import Placement
from actors.ranks import RankProcess
from tests.configs import run_config
from tracelift_ray.errors import ComponentDead, LearnerLost


class Rank:
    """Answers everything, until it ``is_dead``."""

    def __init__(self) -> None:
        self.is_dead = False

    def __getattr__(self, method: str) -> Any:
        async def answer(*_: object) -> Any:
            if self.is_dead:
                raise ComponentDead("actor", "the process is gone")
            return RankProcess("10.0.0.1", "node", 1) if method == "process" else None

        return SimpleNamespace(remote=answer)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Rank]:
    """The ranks that a group starts from now on."""
    made: list[Rank] = []

    async def result_of(call: Awaitable[Any]) -> Any:
        return await call

    async def end_process(*_: object) -> None:
        """It has ended."""

    def remote(*_: object) -> Rank:
        made.append(Rank())
        return made[-1]

    monkeypatch.setattr(ranks, "result_of", result_of)
    monkeypatch.setattr(ranks, "end_process", end_process)
    monkeypatch.setattr(ranks.ray, "kill", lambda actor: None)
    monkeypatch.setattr(
        learner, "remote_class", lambda cls: SimpleNamespace(options=lambda **_: SimpleNamespace(remote=remote))
    )
    return made


async def test_losses_and_starts_of_the_learner_again_are_counted(started: list[Rank]) -> None:
    group = RayLearnerGroup(run_config("learner.num_workers=2"), Placement())
    await group.start()
    assert group.metrics() == {"faults/learner/lost": 0.0, "faults/learner/restarts": 0.0}
    started[1].is_dead = True
    for _ in range(2):  # the ranks are lost once, however many calls find out
        with pytest.raises(LearnerLost, match="rank 1"):
            await group.save("planner", None)
    assert group.metrics() == {"faults/learner/lost": 1.0, "faults/learner/restarts": 0.0}
    await group.restart(None)
    await group.save("planner", None)
    assert len(started) == 4
    assert group.metrics() == {"faults/learner/lost": 1.0, "faults/learner/restarts": 1.0}
    await group.close()
