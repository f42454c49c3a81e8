"""One weight broadcast: the learner's weights to every planner engine, versioned and checksummed.

After it each planner engine serves exactly the learner's weights under the learner's version, or the broadcast raises
and the run does not go on with an engine that serves others.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import monotonic

from tracelift_ray.engines.transfer import WeightManifest, WeightReceipt
from tracelift_ray.streaming.pools import LearnerGroup, WeightReceivers
from tracelift_ray.types import InfrastructureError


@dataclass(frozen=True)
class Broadcast:
    """What a broadcast did: the version now served, its checksum, the engines that serve it, and seconds taken."""

    version: int
    checksum: str
    engines: int
    seconds: float


async def broadcast_weights(learner: LearnerGroup, receivers: WeightReceivers, deadline_s: float) -> Broadcast:
    """Broadcast the learner's weights. Raises ``InfrastructureError`` naming the deviating engine or the deadline."""
    started = monotonic()
    try:
        async with asyncio.timeout(deadline_s):
            manifest, checksum, receipts = await _transfer(learner, receivers)
    except TimeoutError:
        raise InfrastructureError(
            "weights",
            f"no complete broadcast after {deadline_s:g} s (stream.broadcast_deadline_s); check that learner "
            "and planner workers live and see the same shared memory or network",
        ) from None
    for index, receipt in enumerate(receipts):
        if (receipt.version, receipt.checksum) != (manifest.version, checksum):
            raise InfrastructureError(
                "weights",
                f"planner engine {index} serves version {receipt.version} ({receipt.checksum}), "
                f"the learner sent version {manifest.version} ({checksum})",
            )
    return Broadcast(manifest.version, checksum, len(receipts), monotonic() - started)


async def _transfer(
    learner: LearnerGroup, receivers: WeightReceivers
) -> tuple[WeightManifest, str, list[WeightReceipt]]:
    manifest = await learner.describe_weights(receivers.receivers())
    try:
        if manifest.simultaneous:
            checksum, receipts = await asyncio.gather(
                learner.send_weights(manifest), receivers.receive_weights(manifest)
            )
        else:
            checksum = await learner.send_weights(manifest)
            receipts = await receivers.receive_weights(manifest)
    finally:
        await learner.release_weights(manifest)
    return manifest, checksum, receipts
