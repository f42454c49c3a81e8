"""The planner's pool: members that generate, and take the learner's weights, all together or one after its restart.

A member whose transfer fails, or is given up on half way, is replaced, since what it serves is in doubt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tracelift_ray.errors import InfrastructureError, TransferBroken
from tracelift_ray.pools.pool import Member, Pool
from tracelift_ray.transfer.manifest import Held, WeightManifest, WeightReceipt
from tracelift_ray.types import Completion, Prompt, SamplingParams


class PlannerPool:
    """Implements ``rl.pools.GeneratorPool`` and ``WeightReceivers`` over a pool; ``deadline_s`` is for a transfer."""

    def __init__(self, pool: Pool, deadline_s: float) -> None:
        self.pool = pool
        self.deadline_s = deadline_s
        self._held: dict[str, Held] = {}

    async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
        """``params.n`` completions of ``prompt``, in order."""
        return await self.pool.call("generate", prompt, params)

    def receivers(self) -> tuple[str, ...]:
        """The members that are up."""
        return tuple(member.name for member in self.pool.members)

    def held(self) -> Held | None:
        """The version that all members that are up have."""
        return self.held_by(self.receivers())

    def held_by(self, names: Sequence[str]) -> Held | None:
        """The version that all of these members have, by their last receipts."""
        versions = {self._held.get(name) for name in names}
        return versions.pop() if len(versions) == 1 else None

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
        self._held.pop(member.name, None)
        own = manifest.for_receiver(member.name)
        receipt: WeightReceipt = await self.pool.control(member, self.deadline_s, "receive_weights", own)
        self._held[member.name] = Held(receipt.version, receipt.checksum)
        return receipt

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

    def __init__(self, planner: PlannerPool, member: Member) -> None:
        self._planner = planner
        self._member = member

    def receivers(self) -> tuple[str, ...]:
        """The one."""
        return (self._member.name,)

    def held(self) -> Held | None:
        """What it has, if anything."""
        return self._planner.held_by(self.receivers())

    async def receive_weights(self, manifest: WeightManifest) -> list[WeightReceipt]:
        """The one receipt."""
        return [await self._planner.send_to(self._member, manifest)]

    async def probe(self, prompt: Prompt, params: SamplingParams) -> dict[str, Completion]:
        """The one answer."""
        control = self._planner.pool.control
        (answer,) = await control(self._member, self._planner.deadline_s, "generate", prompt, params)
        return {self._member.name: answer}
