"""The frozen executor's pool."""

from __future__ import annotations

from typing import Any

from actors.generator import GeneratorActor
from actors.placement import Placement
from actors.pool import actor_pool, member_options, remote_class
from tracelift_ray.config.models import ExecutorConfig
from tracelift_ray.engines.seeds import member_seed
from tracelift_ray.types import Completion, Prompt, SamplingParams


class RayExecutorPool:
    """Implements ``rl.pools.GeneratorPool`` over actors."""

    def __init__(self, config: ExecutorConfig, placement: Placement, seed: int, sleeps: bool = False) -> None:
        actor = remote_class(GeneratorActor)

        def spawn(index: int, restart: int) -> Any:
            options = member_options(config.pool, placement, "executor", index)
            own_seed = member_seed(seed, "executor", index, restart)
            return actor.options(**options).remote(
                config.engine, config.model, remote=config.remote, seed=own_seed, sleeps=sleeps
            )

        self.pool = actor_pool("executor", config.pool, config.engine.startup_s, spawn)

    async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
        """``params.n`` completions of ``prompt``, in order."""
        return await self.pool.call("generate", prompt, params, near=prompt.near)
