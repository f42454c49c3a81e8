"""An actor class for tests of pools; in a module of its own, so that Ray's workers can import it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from actors.pool import PoolActor
from tracelift_ray.errors import ComponentDead, InfrastructureError
from tracelift_ray.transfer.manifest import WeightManifest, WeightReceipt


class Worker(PoolActor):
    """Answers with its index; can hang, die, and fail in the two ways an actor can fail."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.ended_early: list[str] = []

    async def pid(self) -> int:
        return os.getpid()

    async def devices(self) -> str:
        return os.environ["CUDA_VISIBLE_DEVICES"]

    async def cancelled(self) -> list[str]:
        return self.ended_early

    async def sleep(self, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.ended_early.append("sleep")
            raise

    async def who(self, seconds: float = 0.0) -> int:
        await asyncio.sleep(seconds)
        return self.index

    async def fail_on(self, index: int) -> int:
        if self.index == index:
            raise InfrastructureError("engine", "no room for the cache")
        return self.index

    async def fail(self) -> None:
        raise InfrastructureError("engine", "no room for the cache")

    async def block(self, seconds: float) -> None:
        time.sleep(seconds)

    async def dead_on(self, index: int) -> int:
        if self.index == index:
            raise ComponentDead("engine", "the engine core is gone")
        return self.index

    async def bug(self) -> None:
        raise KeyError("a bug")

    async def die_on(self, index: int) -> int:
        if self.index == index:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.index

    async def receive_weights(self, manifest: WeightManifest) -> WeightReceipt:
        """Its first incarnation dies where the manifest's location names its index, unless that was done before."""
        location = Path(manifest.location)
        if location.name == f"kills-{self.index}" and not location.exists():
            location.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return WeightReceipt(manifest.version, f"sum-{manifest.version}", ())
