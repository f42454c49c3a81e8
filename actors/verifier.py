"""The verifier pool: actors that check artifacts off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray

from actors.placement import Placement
from actors.pool import ActorPool
from actors.runtime import worker_environment
from tracelift_ray.config.schema import VerifierConfig
from tracelift_ray.types import Artifact, Problem, Verdict
from tracelift_ray.verification.verifier import Verifier

STARTUP_S = 60.0


class VerifierActor:
    """Owns a verifier and as many threads as it may run checks at a time."""

    def __init__(self, config: VerifierConfig) -> None:
        self.verifier = Verifier(config)
        self.threads = ThreadPoolExecutor(max(1, round(config.pool.cpus_per_worker)))

    async def start(self) -> None:
        """A verifier is ready as soon as it exists."""

    async def verify(self, problem: Problem, artifacts: Sequence[Artifact]) -> list[Verdict]:
        """One verdict for each artifact, in order."""
        loop = asyncio.get_running_loop()
        checks = (loop.run_in_executor(self.threads, self.verifier.verify, problem, a) for a in artifacts)
        return await asyncio.gather(*checks)

    async def close(self) -> None:
        """End the checks that run, and their processes."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.verifier.close()


class RayVerifierPool:
    """Implements ``streaming.pools.VerifierPool`` over actors."""

    def __init__(self, config: VerifierConfig, placement: Placement) -> None:
        actor = ray.remote(VerifierActor)

        def spawn(index: int) -> Any:
            options = placement.options("verifier", index) | worker_environment(config.pool.cpus_per_worker)
            return actor.options(max_concurrency=config.pool.max_concurrency, **options).remote(config)

        self.pool = ActorPool("verifier", config.pool, spawn, STARTUP_S)

    async def verify(self, problem: Problem, artifacts: Sequence[Artifact]) -> list[Verdict]:
        """One verdict for each artifact, in order."""
        return await self.pool.call("verify", problem, artifacts)
