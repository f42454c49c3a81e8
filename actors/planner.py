"""The planner's rollout pool: actors that generate traces and take the learner's weights."""

from __future__ import annotations

import asyncio
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
from tracelift_ray.pools.pool import Member
from tracelift_ray.transfer.kinds import at_engine
from tracelift_ray.transfer.manifest import WeightManifest, WeightReceipt
from tracelift_ray.transfer.object_store import Relay
from tracelift_ray.types import Completion, InfrastructureError, Prompt, SamplingParams, TransferBroken


class PlannerActor(GeneratorActor):
    """A generator that takes weights."""

    async def receive_weights(self, manifest: WeightManifest) -> WeightReceipt:
        """Serve the weights that ``manifest`` describes from now on."""
        if manifest.parts:
            get = partial(_fetched, deadline_s=manifest.deadline_s)
            return await Relay(get).deliver(manifest, self.engine.receive_weights)
        return await self.engine.receive_weights(manifest)


def _fetched(reference: Any, deadline_s: float) -> Any:
    """What an object reference stands for. Raises ``InfrastructureError`` where it is lost or late."""
    try:
        return ray.get(reference, timeout=deadline_s)
    except RayError as error:
        raise InfrastructureError("weights", f"not in the object store: {reason_of(error)}") from None


class RayPlannerPool:
    """Implements ``rl.pools.PlannerPool`` over actors."""

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

        self.deadline_s = stream.broadcast_deadline_s
        self.pool = actor_pool("planner", config.pool, config.engine.startup_s, spawn)

    async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
        """``params.n`` completions of ``prompt``, in order."""
        return await self.pool.call("generate", prompt, params)

    def receivers(self) -> tuple[str, ...]:
        """The members that are up."""
        return tuple(member.name for member in self.pool.members)

    async def receive_weights(self, manifest: WeightManifest) -> list[WeightReceipt]:
        """Every member that is up takes the weights; one that does not is replaced, and not among the receipts."""
        taken = await asyncio.gather(*(self._take(member, manifest) for member in self.pool.members))
        return [receipt for receipt in taken if receipt is not None]

    async def probe(self, prompt: Prompt, params: SamplingParams) -> dict[str, Completion]:
        """One completion from every member that is up; one that does not answer is replaced."""
        answers = await asyncio.gather(*(self.ask(member, prompt, params) for member in self.pool.members))
        return {name: answer for name, answer in answers if answer is not None}

    async def ask(self, member: Member, prompt: Prompt, params: SamplingParams) -> tuple[str, Completion | None]:
        """One member's name and completion; none where it does not answer."""
        try:
            completions = await self.pool.control(member, self.deadline_s, "generate", prompt, params)
            return member.name, completions[0]
        except InfrastructureError as error:
            self.pool.replace(member, error.cause)
            return member.name, None

    def only(self, member: Member) -> OneMember:
        """One member as a receiver of weights, after its restart."""
        return OneMember(self, member)

    async def send_to(self, member: Member, manifest: WeightManifest) -> WeightReceipt:
        """One member takes the weights, or raises ``InfrastructureError``."""
        return await self.pool.control(member, self.deadline_s, "receive_weights", manifest.for_receiver(member.name))

    async def _take(self, member: Member, manifest: WeightManifest) -> WeightReceipt | None:
        try:
            return await self.send_to(member, manifest)
        except TransferBroken:  # it waits for the weights to be sent again
            return None
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

    def receivers(self) -> tuple[str, ...]:
        """The one."""
        return (self._member.name,)

    async def receive_weights(self, manifest: WeightManifest) -> list[WeightReceipt]:
        """The one receipt."""
        return [await self._planner.send_to(self._member, manifest)]

    async def probe(self, prompt: Prompt, params: SamplingParams) -> dict[str, Completion]:
        """The one answer."""
        control = self._planner.pool.control
        (answer,) = await control(self._member, self._planner.deadline_s, "generate", prompt, params)
        return {self._member.name: answer}
