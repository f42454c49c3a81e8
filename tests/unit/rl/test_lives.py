"""A learner that is lost is started again from the newest checkpoint, a bounded number of times."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tracelift_ray.errors import InfrastructureError, LearnerLost
from tracelift_ray.rl import lives
from tracelift_ray.training.checkpoint import Checkpoint


class FakeLife:
    """Loops that end as ``ends`` says, each after it wrote the checkpoint that comes with its end."""

    def __init__(self, *ends: tuple[Exception | None, int | None], unable: int = 0) -> None:
        self.ends = list(ends)
        self.unable = unable
        self.begun: list[int | None] = []
        self.restarted: list[int | None] = []
        self.rewound: list[int] = []
        self.said: list[str] = []

    def begin(self, checkpoint: Checkpoint | None) -> Any:
        self.begun.append(checkpoint and checkpoint.step)
        error, step = self.ends.pop(0)
        newest = None if step is None else Checkpoint(Path(f"step-{step:06d}"), step)

        async def train() -> None:
            if error is not None:
                raise error

        return SimpleNamespace(train=train, saving=SimpleNamespace(newest=newest))

    async def restart(self, checkpoint: Checkpoint | None) -> None:
        self.restarted.append(checkpoint and checkpoint.step)
        if self.unable:
            self.unable -= 1
            raise InfrastructureError("learner", "no room")

    def rewind(self, step: int) -> None:
        self.rewound.append(step)

    def say(self, line: str) -> None:
        self.said.append(line)


LOST = LearnerLost("learner", "rank 0 died")
FOUND = Checkpoint(Path("step-000004"), 4)


async def test_it_goes_on_from_the_newest_checkpoint_of_all_lives() -> None:
    life = FakeLife((LOST, None), (LOST, 9), (None, None))
    await lives.train(life, FOUND, most=2)
    assert life.begun == [4, 4, 9] and life.restarted == [4, 9] and life.rewound == [4, 9]
    assert life.said[1] == "learner: rank 0 died; the learner is started again (2 of 2) after step 9"


async def test_without_a_checkpoint_it_begins_again() -> None:
    life = FakeLife((LOST, None), (None, None))
    await lives.train(life, None, most=1)
    assert life.begun == [None, None] and life.rewound == [0]


async def test_one_loss_too_many_ends_the_run_and_says_what_it_goes_on_from() -> None:
    life = FakeLife((LOST, 7), (LOST, None))
    with pytest.raises(LearnerLost, match=r"rank 0 died; learner.restarts=1 are used up, .* goes on from step-000007"):
        await lives.train(life, None, most=1)


async def test_what_is_no_loss_of_the_learner_ends_the_run() -> None:
    life = FakeLife((InfrastructureError("learner", "the loss is nan"), 3))
    with pytest.raises(InfrastructureError, match="nan"):
        await lives.train(life, None, most=3)
    assert life.restarted == []


async def test_a_start_that_fails_is_tried_again_after_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    paused: list[float] = []

    async def sleep(seconds: float) -> None:
        paused.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    life = FakeLife((LOST, 2), (None, None), unable=2)
    await lives.train(life, None, most=2)
    assert paused == [10.0, 20.0] and life.begun == [None, 2]
    life = FakeLife((LOST, 2), unable=9)
    with pytest.raises(InfrastructureError, match="no room"):
        await lives.train(life, None, most=2)
