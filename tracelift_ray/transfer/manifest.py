"""What crosses between the learner and the engines when weights are broadcast, and the checksums that prove it did.

The learner describes a version in a ``WeightManifest``; an engine that has received it answers with a
``WeightReceipt``. A checksum covers the bytes of all tensors in the order of the manifest. In every backend it travels
behind the weights themselves, so that each receiver checks what arrived without asking anybody.

Shared-memory layout: the tensors in order, each at a multiple of ``ALIGNMENT`` bytes, then a trailer of two 8-byte
little-endian numbers: how many tensors have been written so far (``FAILED`` where the sender gave up), and the
checksum, which is there once all of them are. A receiver thus reads each tensor while the next is being written.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Thread
from typing import TYPE_CHECKING

from tracelift_ray.types import InfrastructureError

if TYPE_CHECKING:
    import torch

BACKENDS = ("shared_memory", "nccl", "ipc")
ALIGNMENT = 64
TRAILER = struct.Struct("<qQ")
#: Stands in the trailer for the number of tensors written, where the sender gave up.
FAILED = -1
#: Name of the tensor (int64, one element) that carries the checksum behind the weights on nccl and ipc.
CHECKSUM_NAME = "tracelift.checksum"


@dataclass(frozen=True)
class TensorSpec:
    """One tensor on the wire: its Hugging Face checkpoint name, full shape, and torch dtype such as ``bfloat16``."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def num_bytes(self) -> int:
        import torch

        return math.prod(self.shape) * getattr(torch, self.dtype).itemsize


@dataclass(frozen=True)
class NcclChannel:
    """Where the sender (rank 0) and all workers of all receivers meet, for one version."""

    address: str
    port: int
    receivers: int
    workers_per_receiver: int

    @property
    def world_size(self) -> int:
        return 1 + self.receivers * self.workers_per_receiver


@dataclass(frozen=True)
class WeightManifest:
    """One version of the weights, as its receivers are told of it.

    Attributes:
        version: the policy version that the weights are.
        backend: ``shared_memory``, ``nccl`` or ``ipc``.
        tensors: in the order in which they are sent.
        location: path of the shared-memory file, or of the IPC handles; empty for nccl.
        bucket_mib: nccl packs tensors into buffers of this many MiB.
        simultaneous: whether receivers receive while the sender sends (nccl, shared_memory), or start after it (ipc).
        deadline_s: for the sender, and for each receiver.
        channel: the nccl group.
        receiver: index of the receiving engine in the channel.
    """

    version: int
    backend: str
    tensors: tuple[TensorSpec, ...]
    location: str
    bucket_mib: int
    simultaneous: bool
    deadline_s: float
    channel: NcclChannel | None = None
    receiver: int = 0

    def for_receiver(self, index: int) -> WeightManifest:
        """The manifest as engine number ``index`` of the receivers needs it."""
        return replace(self, receiver=index)


@dataclass(frozen=True)
class WeightReceipt:
    """What an engine serves after a transfer: the version, and the checksum (16 hex digits) of what arrived.

    ``workers`` holds the checksum that each worker of the engine took; they are all equal to ``checksum``.
    """

    version: int
    checksum: str
    workers: tuple[str, ...]


def hex_checksum(value: int) -> str:
    """A 64-bit checksum as 16 hex digits; ``value`` may be signed."""
    return f"{value & 0xFFFFFFFFFFFFFFFF:016x}"


def tensor_bytes(tensor: torch.Tensor) -> memoryview:
    """The bytes of a contiguous CPU tensor, without a copy."""
    import torch

    return tensor.detach().reshape(-1).view(torch.uint8).numpy().data


class HostChecksum:
    """xxh3_64 of the bytes of CPU tensors, in the order in which they are added."""

    def __init__(self) -> None:
        import xxhash

        self._hash = xxhash.xxh3_64()

    def add(self, data: memoryview) -> None:
        self._hash.update(data)

    def value(self) -> int:
        return self._hash.intdigest()


class DeviceChecksum:
    """A checksum that is computed where the tensors are, with integer arithmetic that is exact on every device.

    Each tensor is read as 32-bit words w_i (zero-padded); its digest is the sum of (w_i xor k1)·(2i + k2) modulo 2^64.
    The digests d_t of the tensors are joined as h = h·k3 + d_t. It tells permuted, missing and stale bytes from the
    right ones, which is what a transfer can get wrong; it is no defence against an attacker.
    """

    _FLIP, _OFFSET, _JOIN = 0x5BD1E995, 0x9E3779B97F4A7C15 - (1 << 64), 0x2545F4914F6CDD1D
    _CHUNK = 1 << 24  # words at a time: 128 MiB of scratch for each intermediate

    def __init__(self, device: torch.device) -> None:
        import torch

        self._state = torch.zeros(1, dtype=torch.int64, device=device)

    def add(self, tensor: torch.Tensor) -> None:
        import torch

        raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
        if raw.numel() % 4:
            raw = torch.nn.functional.pad(raw, (0, 4 - raw.numel() % 4))
        # A view must start at a multiple of the wider type's size; packed tensors of mixed types may not.
        words = (raw if raw.data_ptr() % 4 == 0 and raw.storage_offset() % 4 == 0 else raw.clone()).view(torch.int32)
        digest = torch.zeros_like(self._state)
        for start in range(0, words.numel(), self._CHUNK):
            part = words[start : start + self._CHUNK].to(torch.int64) ^ self._FLIP
            index = torch.arange(start, start + part.numel(), dtype=torch.int64, device=part.device)
            digest += (part * (2 * index + self._OFFSET)).sum()
        self._state = self._state * self._JOIN + digest

    def tensor(self) -> torch.Tensor:
        """The checksum so far: int64, shape (1,), on the device."""
        return self._state.clone()


def layout(tensors: Sequence[TensorSpec]) -> tuple[tuple[int, ...], int]:
    """Byte offset of each tensor, and of the checksum behind them."""
    offsets, end = [], 0
    for spec in tensors:
        offsets.append(end)
        end += -(-spec.num_bytes // ALIGNMENT) * ALIGNMENT
    return tuple(offsets), end


class SharedMemoryReader:
    """The receiver's view of one version in shared memory, which may still be being written.

    Raises:
        InfrastructureError: the file is missing or has another size.
    """

    #: How often the sender's progress is looked at.
    POLL_S = 0.0005

    def __init__(self, manifest: WeightManifest, component: str) -> None:
        self._manifest = manifest
        self._component = component
        self._ends = time.monotonic() + manifest.deadline_s
        self._offsets, self._end = layout(manifest.tensors)
        self._descriptor = self._open()
        # Private and writable, because torch wraps only writable buffers; a page is copied when it is written to.
        try:
            self._map = mmap.mmap(
                self._descriptor, self._end, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE
            )
        except OSError as error:
            os.close(self._descriptor)
            raise InfrastructureError(component, f"cannot map {manifest.location}: {error.strerror}") from error
        self._checksum = HostChecksum()
        # Another core takes the checksum while this one loads.
        self._hasher = ThreadPoolExecutor(max_workers=1)

    def _open(self) -> int:
        path, size = self._manifest.location, self._end + TRAILER.size
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise InfrastructureError(
                self._component,
                f"cannot open the weights of version {self._manifest.version} at {path} ({error.strerror}): "
                "shared_memory needs learner rank 0 and the engine on one machine; across machines use nccl",
            ) from error
        found = os.fstat(descriptor).st_size
        if found != size:
            os.close(descriptor)
            raise InfrastructureError(self._component, f"{path} has {found} bytes instead of {size}")
        return descriptor

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """(name, tensor), in order, each as soon as it has been written.

        The tensors are views of the mapping and must not be written to. None of them may be served before ``verify``.

        Raises:
            InfrastructureError: the sender gave up, or has not written the next tensor within the manifest's deadline.
        """
        import torch

        written, view = 0, memoryview(self._map)
        for index, (spec, offset) in enumerate(zip(self._manifest.tensors, self._offsets, strict=True)):
            if written <= index:
                written = self._wait_for(index + 1)
            self._hasher.submit(self._checksum.add, view[offset : offset + spec.num_bytes])
            flat = torch.frombuffer(
                self._map, dtype=getattr(torch, spec.dtype), count=math.prod(spec.shape), offset=offset
            )
            yield spec.name, flat.reshape(spec.shape)

    def _wait_for(self, count: int) -> int:
        """How many tensors have been written, once these are at least ``count``."""
        while True:
            written, _ = self._trailer()
            if written >= count:
                return written
            if written == FAILED:
                raise InfrastructureError(
                    self._component, f"the learner gave up sending version {self._manifest.version}; see its log"
                )
            if time.monotonic() > self._ends:
                raise InfrastructureError(
                    self._component,
                    f"waited {self._manifest.deadline_s:g} s for tensor {count} of {len(self._offsets)} of version "
                    f"{self._manifest.version}: check that the learner is sending, or raise "
                    "stream.broadcast_deadline_s",
                )
            time.sleep(self.POLL_S)

    def verify(self) -> str:
        """The checksum of the tensors, all of which have been read. Raises InfrastructureError: not the sender's."""
        self._wait_for(len(self._offsets) + 1)
        self._hasher.shutdown(wait=True)
        found, expected = hex_checksum(self._checksum.value()), hex_checksum(self._trailer()[1])
        if found != expected:
            raise InfrastructureError(
                self._component,
                f"the weights of version {self._manifest.version} arrived with checksum {found}, sent as {expected}",
            )
        return found

    def close(self) -> None:
        """Let go of the file; the mapping goes with the last tensor that was read from it."""
        self._hasher.shutdown(wait=True)
        os.close(self._descriptor)
        # To unmap half a gigabyte takes 20 ms, for which an engine that waits to go on need not wait.
        mapping = [self._map]
        del self._map
        Thread(target=mapping.clear, name="unmap weights").start()

    def _trailer(self) -> tuple[int, int]:
        return TRAILER.unpack(os.pread(self._descriptor, TRAILER.size, self._end))
