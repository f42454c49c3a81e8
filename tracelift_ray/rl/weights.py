"""One weight broadcast: the learner's weights to every planner engine, versioned and checksummed.

After it each planner engine that is up serves exactly the learner's weights under the learner's version, or the
broadcast raises. An engine that is lost on the way costs the run only that engine: the others go on, and the one that
is started in its place takes the newest weights before it gets work. The learner's lock is held from the description
of a version to its release, so that no version changes under a transfer and two transfers never overlap.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from time import monotonic

from tracelift_ray.rl.pools import LearnerGroup, WeightReceivers
from tracelift_ray.transfer.manifest import WeightReceipt
from tracelift_ray.types import InfrastructureError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Broadcast:
    """What a broadcast did: the version now served, its checksum, the engines that serve it, and seconds taken."""

    version: int
    checksum: str
    engines: int
    seconds: float


class _EngineLost(Exception):
    """The transfer failed when an engine was lost."""


async def broadcast_weights(learner: LearnerGroup, receivers: WeightReceivers) -> Broadcast:
    """Broadcast the learner's weights. Where no engine is up nothing is sent, and the checksum is empty.

    Raises:
        InfrastructureError: the learner failed, or an engine deviates and is named.
    """
    started = monotonic()
    async with learner.lock:
        while True:
            try:
                version, checksum, engines = await _transfer(learner, receivers)
                return Broadcast(version, checksum, engines, monotonic() - started)
            except _EngineLost as error:
                # One that dies breaks a channel that all share; those that live meet in a new one. Each try has
                # fewer, since none joins while the lock is held.
                logger.warning("%s; the weights are sent again to the engines that are up", error)


async def _transfer(learner: LearnerGroup, receivers: WeightReceivers) -> tuple[int, str, int]:
    """One try: version, checksum, and how many engines took it."""
    expected, checksum, receiving = receivers.receivers(), "", None
    receipts: list[WeightReceipt] = []
    manifest = await learner.describe_weights(expected)
    try:
        if expected and manifest.simultaneous:
            receiving = asyncio.ensure_future(receivers.receive_weights(manifest))
        if expected:
            checksum = await learner.send_weights(manifest)
            receipts = await (receiving or receivers.receive_weights(manifest))
    except InfrastructureError as error:
        if receivers.receivers() < expected:
            raise _EngineLost(str(error)) from error
        raise
    finally:
        if receiving is not None:
            receiving.cancel()
        await learner.release_weights(manifest)
    for index, receipt in enumerate(receipts):
        if (receipt.version, receipt.checksum) != (manifest.version, checksum):
            raise InfrastructureError(
                "weights",
                f"planner engine {index} serves version {receipt.version} ({receipt.checksum}), "
                f"the learner sent version {manifest.version} ({checksum})",
            )
    return manifest.version, checksum, len(receipts)
