"""The lives of a simulated learner within one process: pools and engines stay, the loop goes on from a checkpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from tracelift_ray.rl.colocation import SharedGpus
from tracelift_ray.rl.loop import TrainingLoop
from tracelift_ray.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    from tracelift_ray.simulation.world import World


class SimulatedLife:
    """Implements ``rl.lives.Life``."""

    def __init__(self, world: World, loop: Callable[[], TrainingLoop], shared: SharedGpus) -> None:
        self.world = world
        self._loop = loop
        self._shared = shared

    def begin(self, checkpoint: Checkpoint | None) -> TrainingLoop:
        """A loop that goes on from the checkpoint."""
        world = self.world
        world.learner.given_up.clear()
        number = world.learner.load(None if checkpoint is None else checkpoint.learner_dir)
        world.watch.resume(number, engines_stay=world.lives > 0)
        world.lives += 1
        world.training = loop = self._loop()
        if checkpoint is not None:
            loop.restore(checkpoint.state())
        return loop

    async def restart(self, checkpoint: Checkpoint | None) -> None:
        """Another learner is there after a while."""
        self.world.training = None
        await self._shared.to_learner()
        await asyncio.sleep(self.world.seconds(20.0))

    def rewind(self, step: int) -> None:
        """The watch goes back by itself."""

    def say(self, line: str) -> None:
        """A line of the log."""
        self.world.event("message", line)
