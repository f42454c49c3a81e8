"""The planner's rollout pool: actors that generate traces and take the learner's weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import ray
from ray.exceptions import RayError

from actors.generator import GeneratorActor
from actors.placement import Placement
from actors.pool import actor_pool, member_options, remote_class
from actors.telling import reason_of
from tracelift_ray.config.models import PlannerConfig
from tracelift_ray.config.schema import LoraConfig, StreamConfig
from tracelift_ray.engines.seeds import member_seed
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.rl.planner_pool import PlannerPool
from tracelift_ray.transfer.kinds import at_engine
from tracelift_ray.transfer.manifest import WeightManifest, WeightReceipt


class PlannerActor(GeneratorActor):
    """A generator that takes weights."""

    async def receive_weights(self, manifest: WeightManifest) -> WeightReceipt:
        """Serve the weights that ``manifest`` describes from now on."""
        if manifest.parts:
            from tracelift_ray.transfer.object_store import Relay

            get = partial(_fetched, deadline_s=manifest.deadline_s)
            return await Relay(get).deliver(manifest, self.engine.receive_weights)
        return await self.engine.receive_weights(manifest)


def _fetched(reference: Any, deadline_s: float) -> Any:
    """What an object reference stands for. Raises ``InfrastructureError`` where it is lost or late."""
    try:
        return ray.get(reference, timeout=deadline_s)
    except RayError as error:
        raise InfrastructureError("weights", f"not in the object store: {reason_of(error)}") from None


class RayPlannerPool(PlannerPool):
    """A planner pool over actors."""

    def __init__(
        self,
        config: PlannerConfig,
        stream: StreamConfig,
        placement: Placement,
        seed: int,
        sleeps: bool = False,
        adapter: LoraConfig | None = None,
    ) -> None:
        actor = remote_class(PlannerActor)

        def spawn(index: int, restart: int) -> Any:
            options = member_options(config.pool, placement, "planner", index)
            return actor.options(**options).remote(
                config.engine,
                config.model,
                transfer=at_engine(stream.weight_transfer),
                adapter=adapter,
                seed=member_seed(seed, "planner", index, restart),
                sleeps=sleeps,
            )

        pool = actor_pool("planner", config.pool, config.engine.startup_s, spawn)
        super().__init__(pool, stream.broadcast_deadline_s)
