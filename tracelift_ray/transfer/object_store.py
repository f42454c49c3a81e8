"""Weights through an object store: the slow way that always works, across nodes and whatever lies between them.

Rank 0 of the learner puts every bucket into the store once. Whoever holds an engine fetches the buckets, checks each
tensor, and passes them on through the shared memory of its own machine, where the engine and its workers read them. The
store itself is two callables, ``put`` and ``get``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from tracelift_ray.transfer.buckets import Receiver, send
from tracelift_ray.transfer.checksums import HostChecksum, hex_checksum, tensor_bytes
from tracelift_ray.transfer.manifest import Sent, TensorSpec, WeightManifest, WeightReceipt
from tracelift_ray.transfer.memories import Memories
from tracelift_ray.transfer.senders import NamedTensors, SenderSettings, checked
from tracelift_ray.transfer.shared_memory_sender import SharedMemorySender

CPU = torch.device("cpu")


class ObjectStoreSender:
    """Puts every bucket once. What was put is held until ``release``."""

    def __init__(self, settings: SenderSettings) -> None:
        if settings.put is None:
            raise ValueError("weights go through an object store only where there is one: use collective")
        self._settings = settings
        self._put = settings.put
        self._held: dict[int, tuple[Any, ...]] = {}

    def describe(self, specs: Sequence[TensorSpec], version: int, receivers: Sequence[str] = ()) -> WeightManifest:
        settings = self._settings
        return WeightManifest(
            version,
            "object_store",
            tuple(specs),
            "",
            settings.bucket_mib,
            simultaneous=False,
            deadline_s=settings.deadline_s,
        )

    def send(self, manifest: WeightManifest, tensors: NamedTensors) -> Sent:
        bucket_bytes = manifest.bucket_mib << 20
        store, checksum = _Puts(self._put, bucket_bytes), HostChecksum()

        def hashed() -> Iterator[tuple[str, torch.Tensor]]:
            for spec, tensor in checked(manifest, tensors):
                here = tensor.cpu()
                checksum.add(tensor_bytes(here))
                yield spec.name, here

        send(store, manifest.tensors, hashed(), bucket_bytes)
        self._held[manifest.version] = tuple(store.parts)
        return Sent(hex_checksum(checksum.value()), tuple(store.parts))

    def release(self, version: int) -> None:
        self._held.pop(version, None)

    def abort(self) -> None:
        """Nothing waits for receivers."""

    def close(self) -> None:
        self._held.clear()


class _Puts:
    """``buckets.Outgoing`` into a store."""

    device = CPU

    def __init__(self, put: Callable[[Any], Any], bucket_bytes: int) -> None:
        self.parts: list[Any] = []
        self._put = put
        self._buffer = torch.empty(bucket_bytes, dtype=torch.uint8)

    def room(self) -> torch.Tensor:
        return self._buffer

    def ship(self, length: int) -> None:
        self.parts.append(self._put(self._buffer[:length].numpy()))  # the store copies

    def end(self, digests: torch.Tensor) -> None:
        self.parts.append(self._put(digests.numpy()))


class _Gets:
    """``buckets.Incoming`` out of a store."""

    def __init__(self, get: Callable[[Any], Any], parts: Sequence[Any], bucket_bytes: int) -> None:
        self.memories = Memories(CPU, bucket_bytes)
        self._get = get
        self._parts = parts

    def fill(self, memories: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
        for part, memory in zip(self._parts, memories, strict=False):  # the last part holds the digests
            memory.numpy()[:] = self._get(part)  # a copy, since the store's own memory is read-only
            yield memory

    def digests(self, count: int) -> torch.Tensor:
        return torch.tensor(self._get(self._parts[-1]), dtype=torch.int64)


class Relay:
    """Passes weights out of an object store on to an engine on this machine.

    Args:
        get: the buffer of a reference. Called in a thread; raises ``InfrastructureError`` where it is lost.
    """

    def __init__(self, get: Callable[[Any], Any]) -> None:
        self._get = get

    async def deliver(
        self, manifest: WeightManifest, receive: Callable[[WeightManifest], Awaitable[WeightReceipt]]
    ) -> WeightReceipt:
        """Have ``receive``, an engine's ``receive_weights``, take the version of ``manifest`` from shared memory.

        Raises:
            InfrastructureError: a bucket is lost, a tensor arrived otherwise, or the engine failed.
        """
        sender = SharedMemorySender(SenderSettings("relay", manifest.bucket_mib, manifest.deadline_s))
        try:
            local = sender.describe(manifest.tensors, manifest.version).for_receiver(manifest.receiver)
            local = replace(local, adapter=manifest.adapter, kept=manifest.kept, change=manifest.change)
            # A sender that fails says so in the file, and the engine ends with it; the sender's is the cause then.
            sending = asyncio.to_thread(sender.send, local, self._fetched(manifest))
            sent, receipt = await asyncio.gather(sending, receive(local), return_exceptions=True)
            if isinstance(sent, BaseException):
                raise sent
            if isinstance(receipt, BaseException):
                raise receipt
            return receipt
        finally:
            sender.close()

    def _fetched(self, manifest: WeightManifest) -> Iterator[tuple[str, torch.Tensor]]:
        """The tensors of ``manifest``; it ends well only where all of them are those that were sent."""
        bucket_bytes = manifest.bucket_mib << 20
        receiver = Receiver(_Gets(self._get, manifest.parts, bucket_bytes), manifest.tensors, bucket_bytes)
        yield from receiver.tensors()
        receiver.verify()
