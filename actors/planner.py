"""The planner's rollout pool: actors that generate traces and take the learner's weights."""

from __future__ import annotations

import asyncio
from typing import Any

import ray

from actors.generator import GeneratorActor
from actors.placement import Placement
from actors.pool import ActorPool, Member
from actors.runtime import worker_environment
from tracelift_ray.config.models import PlannerConfig
from tracelift_ray.config.schema import StreamConfig
from tracelift_ray.transfer.manifest import WeightManifest, WeightReceipt
from tracelift_ray.types import Completion, InfrastructureError, Prompt, SamplingParams


class PlannerActor(GeneratorActor):
    """A generator that takes weights."""

    async def receive_weights(self, manifest: WeightManifest) -> WeightReceipt:
        """Serve the weights that ``manifest`` describes from now on."""
        return await self.engine.receive_weights(manifest)


class RayPlannerPool:
    """Implements ``rl.pools.PlannerPool`` over actors."""

    def __init__(self, config: PlannerConfig, stream: StreamConfig, placement: Placement, seed: int) -> None:
        actor = ray.remote(PlannerActor)

        def spawn(index: int) -> Any:
            options = placement.options("planner", index) | worker_environment(config.pool.cpus_per_worker)
            return actor.options(max_concurrency=config.pool.max_concurrency, **options).remote(
                config.engine, config.model, transfer=stream.weight_transfer, seed=seed
            )

        self.deadline_s = stream.broadcast_deadline_s
        self.pool = ActorPool("planner", config.pool, spawn, config.engine.startup_s)

    async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
        """``params.n`` completions of ``prompt``, in order."""
        return await self.pool.call("generate", prompt, params)

    def receivers(self) -> int:
        """The members that are up."""
        return len(self.pool.members)

    async def receive_weights(self, manifest: WeightManifest) -> list[WeightReceipt]:
        """Every member that is up takes the weights; one that does not is restarted, and not among the receipts."""
        members = self.pool.members
        taken = await asyncio.gather(
            *(self._take(member, manifest.for_receiver(index)) for index, member in enumerate(members))
        )
        return [receipt for receipt in taken if receipt is not None]

    def only(self, member: Member) -> OneMember:
        """One member as a receiver of weights, after its restart."""
        return OneMember(self, member)

    async def send_to(self, member: Member, manifest: WeightManifest) -> WeightReceipt:
        """One member takes the weights, or raises ``InfrastructureError``."""
        return await self.pool.call_member(member, self.deadline_s, "receive_weights", manifest)

    async def _take(self, member: Member, manifest: WeightManifest) -> WeightReceipt | None:
        try:
            return await self.send_to(member, manifest)
        except InfrastructureError as error:
            self.pool.replace(member, error.cause)
            return None
        except asyncio.CancelledError:  # it may hold some of the old weights and some of the new
            self.pool.replace(member, "the transfer of new weights to it was given up")
            raise


class OneMember:
    """A single planner member that takes weights."""

    def __init__(self, planner: RayPlannerPool, member: Member) -> None:
        self._planner = planner
        self._member = member

    def receivers(self) -> int:
        """One."""
        return 1

    async def receive_weights(self, manifest: WeightManifest) -> list[WeightReceipt]:
        """The one receipt."""
        return [await self._planner.send_to(self._member, manifest)]
