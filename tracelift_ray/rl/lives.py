"""Training over the losses of the learner: it starts again from the newest checkpoint while the pools stay up.

All that a resumed process would take from the checkpoint is taken from it here, too: the stream with its groups in
flight, the counters, the records of steps. So a loss costs the steps since, which are made again, and nothing is
counted twice. After ``most`` losses the run ends with the last one.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Protocol

from tracelift_ray.config.errors import first_line
from tracelift_ray.errors import InfrastructureError, LearnerLost
from tracelift_ray.rl.loop import TrainingLoop
from tracelift_ray.training.checkpoint import Checkpoint

#: Seconds before the second start in a row that fails; each further pause is twice as long.
PAUSE_S = 10.0


class Life(Protocol):
    """What a run does between two lives of its learner."""

    def begin(self, checkpoint: Checkpoint | None) -> TrainingLoop:
        """A loop that goes on from a checkpoint, or begins; the learner is there already."""

    async def restart(self, checkpoint: Checkpoint | None) -> None:
        """Start the learner again from it. Raises ``InfrastructureError``."""

    def rewind(self, step: int) -> None:
        """Drop the records of later steps."""

    def say(self, line: str) -> None:
        """Tell people."""


async def train(life: Life, found: Checkpoint | None, most: int) -> None:
    """Train to the end.

    Args:
        found: the checkpoint that the learner was started from.
        most: losses after which it is started again.

    Raises:
        LearnerLost: once more than that.
        Exception: whatever ends a training loop.
    """
    for losses in itertools.count(1):
        loop = life.begin(found)
        try:
            return await loop.train()
        except LearnerLost as error:
            found = loop.saving.newest or found
            await _again(life, found, losses, most, error)


async def _again(life: Life, found: Checkpoint | None, losses: int, most: int, error: InfrastructureError) -> None:
    """Start the learner again, or raise its loss."""
    if losses > most:
        at = "the start" if found is None else str(found.path)
        raise LearnerLost(
            error.component, f"{error.cause}; learner.restarts={most} are used up, and resume=auto goes on from {at}"
        ) from error
    step = 0 if found is None else found.step
    life.say(f"{first_line(error)}; the learner is started again ({losses} of {most}) after step {step}")
    for tries in itertools.count(1):
        try:
            await life.restart(found)
            break
        except InfrastructureError as failure:
            if tries > most:
                raise
            pause = PAUSE_S * 2 ** (tries - 1)
            life.say(f"it could not be started ({first_line(failure)}); tried again in {pause:g} s")
            await asyncio.sleep(pause)
    life.rewind(step)
