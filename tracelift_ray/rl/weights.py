"""One weight broadcast: the learner's weights to every planner engine, versioned and checksummed.

After it each planner engine that is up serves exactly the learner's weights under the learner's version, or the
broadcast raises. An engine that is lost on the way costs the run only that engine: the others go on, and the one that
is started in its place takes the newest weights before it gets work. The learner's lock is held from the description
of a version to its release, so that no version changes under a transfer and two transfers never overlap.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tracelift_ray.errors import InfrastructureError, TransferBroken
from tracelift_ray.rl.canary import Canary
from tracelift_ray.rl.pools import LearnerGroup, WeightReceivers
from tracelift_ray.transfer.manifest import WeightManifest, WeightReceipt

logger = logging.getLogger(__name__)
#: Seconds between two looks at whether all engines are still up.
LOOK_S = 0.2


@dataclass(frozen=True)
class Broadcast:
    """What a broadcast did: the version now served, its checksum, the engines that serve it, seconds taken, bytes sent
    to each, and how far the canary's log-probs were apart (None without one)."""

    version: int
    checksum: str
    engines: int
    seconds: float
    num_bytes: int
    canary: float | None = None


class _SendAgain(Exception):
    """The transfer broke when an engine was lost; the others wait for it."""


async def broadcast_weights(
    learner: LearnerGroup,
    receivers: WeightReceivers,
    canary: Canary | None = None,
    wake: Callable[[], Awaitable[None]] | None = None,
) -> Broadcast:
    """Broadcast the learner's weights. Where no engine is up nothing is sent, and the checksum is empty.

    Args:
        canary: compares engines and learner afterwards, before the learner's weights can change.
        wake: wakes the engines, where they sleep while they receive.

    Raises:
        InfrastructureError: the learner failed, the transfer broke with every engine up, or an engine deviates and is
            named.
    """
    clock = asyncio.get_running_loop().time
    started = clock()
    async with learner.lock:
        while True:
            try:
                manifest, checksum, engines = await _transfer(learner, receivers)
                break
            except _SendAgain as error:
                # One that dies breaks a channel that all share; those that live meet in a new one. Each try has
                # fewer, since none joins while the lock is held.
                logger.warning("%s; the weights are sent again to the engines that are up", error)
        seconds = clock() - started
        if wake is not None:
            await wake()
        apart = await canary.check(learner, receivers, manifest.version) if canary is not None else None
        return Broadcast(manifest.version, checksum, engines, seconds, manifest.num_bytes, apart)


async def _transfer(learner: LearnerGroup, receivers: WeightReceivers) -> tuple[WeightManifest, str, int]:
    """One try: what was sent, its checksum, and how many engines took it."""
    expected, checksum = receivers.receivers(), ""
    receipts: list[WeightReceipt] = []
    manifest = await learner.describe_weights(expected, receivers.held())
    try:
        if expected and manifest.simultaneous:
            receipts, checksum = await _meet(learner, receivers, manifest, len(expected))
        elif expected:
            sent = await learner.send_weights(manifest)
            receipts, checksum = await receivers.receive_weights(manifest.with_parts(sent.parts)), sent.checksum
    except InfrastructureError as error:
        if len(receivers.receivers()) < len(expected) or manifest.change:
            raise _SendAgain(str(error)) from error
        raise
    finally:
        await learner.release_weights(manifest)
    up = len(receivers.receivers())
    if len(receipts) < up:
        cause = f"{up - len(receipts)} of {up} planner engines did not get all of version {manifest.version}"
        again = up < len(expected) or manifest.change  # a change that not all could take is followed by the whole
        raise _SendAgain(cause) if again else InfrastructureError("weights", cause)
    _check(receipts, manifest, checksum)
    return manifest, checksum, len(receipts)


async def _meet(
    learner: LearnerGroup, receivers: WeightReceivers, manifest: WeightManifest, expected: int
) -> tuple[list[WeightReceipt], str]:
    """Send while the engines receive. End a send that waits for a lost engine."""
    receiving = asyncio.ensure_future(receivers.receive_weights(manifest))
    sending = asyncio.ensure_future(learner.send_weights(manifest))
    try:
        while not sending.done() and len(receivers.receivers()) == expected:
            await asyncio.wait([sending], timeout=LOOK_S)
        if not sending.done():
            await learner.abort_weights()
        try:
            sent = await sending
        except TransferBroken:
            await receiving  # they notice it too, and wait for the weights to be sent again
            raise
        return await receiving, sent.checksum
    finally:
        receiving.cancel()
        sending.cancel()


def _check(receipts: list[WeightReceipt], manifest: WeightManifest, checksum: str) -> None:
    """Raise ``InfrastructureError`` for an engine that serves something else."""
    for index, receipt in enumerate(receipts):
        if (receipt.version, receipt.checksum) != (manifest.version, checksum):
            raise InfrastructureError(
                "weights",
                f"planner engine {index} serves version {receipt.version} ({receipt.checksum}), "
                f"the learner sent version {manifest.version} ({checksum})",
            )
