"""The frozen executor's pool."""

from __future__ import annotations

from typing import Any

import ray

from actors.generator import GeneratorActor
from actors.placement import Placement
from actors.pool import ActorPool
from actors.runtime import worker_environment
from tracelift_ray.config.models import ExecutorConfig
from tracelift_ray.types import Completion, Prompt, SamplingParams


class RayExecutorPool:
    """Implements ``rl.pools.GeneratorPool`` over actors."""

    def __init__(self, config: ExecutorConfig, placement: Placement, seed: int) -> None:
        actor = ray.remote(GeneratorActor)

        def spawn(index: int) -> Any:
            options = placement.options("executor", index) | worker_environment(config.pool.cpus_per_worker)
            return actor.options(max_concurrency=config.pool.max_concurrency, **options).remote(
                config.engine, config.model, remote=config.remote, seed=seed
            )

        self.pool = ActorPool("executor", config.pool, spawn, config.engine.startup_s)

    async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
        """``params.n`` completions of ``prompt``, in order."""
        return await self.pool.call("generate", prompt, params)
