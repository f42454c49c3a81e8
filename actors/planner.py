"""The planner's rollout pool: actors that generate traces and take the learner's weights."""

from __future__ import annotations

from typing import Any

from actors.generator import GeneratorActor
from actors.placement import Placement
from actors.pool import actor_pool, member_options, remote_class
from tracelift_ray.config.models import PlannerConfig
from tracelift_ray.config.schema import StreamConfig
from tracelift_ray.engines.seeds import member_seed
from tracelift_ray.rl.planner_pool import PlannerPool
from tracelift_ray.transfer.manifest import WeightManifest, WeightReceipt


class PlannerActor(GeneratorActor):
    """A generator that takes weights."""

    async def receive_weights(self, manifest: WeightManifest) -> WeightReceipt:
        """Serve the weights that ``manifest`` describes from now on."""
        return await self.engine.receive_weights(manifest)


class RayPlannerPool(PlannerPool):
    """A planner pool over actors."""

    def __init__(
        self, config: PlannerConfig, stream: StreamConfig, placement: Placement, seed: int, sleeps: bool = False
    ) -> None:
        actor = remote_class(PlannerActor)

        def spawn(index: int, restart: int) -> Any:
            options = member_options(config.pool, placement, "planner", index)
            return actor.options(**options).remote(
                config.engine,
                config.model,
                transfer=stream.weight_transfer,
                seed=member_seed(seed, "planner", index, restart),
                sleeps=sleeps,
            )

        pool = actor_pool("planner", config.pool, config.engine.startup_s, spawn)
        super().__init__(pool, stream.broadcast_deadline_s)
