"""Weights as a stream of buckets: how tensors are packed, taken out again and checked, by every transfer that packs.

Buckets of bounded size hold the tensors in the order of the manifest, each at a multiple of ``ALIGNMENT``; a tensor
that is larger than a bucket travels in slices, alone. Then comes one 64-bit digest for each tensor. A sender holds two
buckets at a time, and a receiver loads the tensors of bucket k where they arrived while bucket k + 1 travels. Digests
are taken tensor by tensor and compared one by one, so a mismatch is named, and nothing depends on the order in which
streams of a device get to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from tracelift_ray.errors import InfrastructureError
from tracelift_ray.transfer.manifest import TensorSpec
from tracelift_ray.transfer.memories import Memories

#: Bytes at whose multiples a tensor starts, so that it can be read as any type where it lies.
ALIGNMENT = 64


class Outgoing(Protocol):
    """Where a sender's buckets go."""

    device: torch.device

    def room(self) -> torch.Tensor:
        """The buffer for the next bucket (uint8, on ``device``), once it may be written to."""
        ...

    def ship(self, length: int) -> None:
        """Send the first ``length`` bytes of the buffer that ``room`` gave."""
        ...

    def end(self, digests: torch.Tensor) -> None:
        """Send the digests; return when nothing waits to be sent."""
        ...


class Incoming(Protocol):
    """Where a receiver's buckets come from, and the memory that they go to."""

    memories: Memories

    def fill(self, memories: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Fill each memory with the next bucket, which has its size, and yield it when it is full.

        The memory of the next bucket may be asked for, and filled, before."""
        ...

    def digests(self, count: int) -> torch.Tensor:
        """The digests that the sender took (int64, on the device of the memories)."""
        ...


@dataclass(frozen=True)
class Piece:
    """Bytes ``start`` to ``end`` of one tensor, at ``offset`` in their bucket."""

    tensor: int
    start: int
    end: int
    offset: int


def plan_buckets(sizes: Sequence[int], bucket_bytes: int) -> list[list[Piece]]:
    """Which bytes of tensors of ``sizes`` bytes each bucket holds, the same on every member."""
    buckets: list[list[Piece]] = []
    used = bucket_bytes
    for index, size in enumerate(sizes):
        if size > bucket_bytes:
            starts = range(0, size, bucket_bytes)
            buckets += [[Piece(index, start, min(size, start + bucket_bytes), 0)] for start in starts]
            used = bucket_bytes
        elif size:
            if used + size > bucket_bytes:
                buckets.append([])
                used = 0
            buckets[-1].append(Piece(index, 0, size, used))
            used += -(-size // ALIGNMENT) * ALIGNMENT
    return buckets


def send(
    outgoing: Outgoing,
    specs: Sequence[TensorSpec],
    tensors: Iterator[tuple[str, torch.Tensor]],
    bucket_bytes: int,
) -> torch.Tensor:
    """Send ``tensors``, which are those of ``specs`` in order. Returns their digests (int64, one for each)."""
    digests = torch.zeros(len(specs), dtype=torch.int64, device=outgoing.device)
    current, raw = -1, torch.empty(0, dtype=torch.uint8)
    for pieces in plan_buckets([spec.num_bytes for spec in specs], bucket_bytes):
        buffer = outgoing.room()
        for piece in pieces:
            while current < piece.tensor:
                current += 1
                raw = as_bytes(next(tensors)[1].to(outgoing.device))
                if raw.numel():
                    digests[current] = digest(raw)
            buffer[piece.offset : piece.offset + piece.end - piece.start].copy_(raw[piece.start : piece.end])
        outgoing.ship(_length(pieces))
    for _ in tensors:  # what has no bytes; and a stream that does not end as described raises
        pass
    outgoing.end(digests)
    return digests


class Receiver:
    """Takes one version: iterate ``tensors()`` to its end, then ask ``verify()``."""

    def __init__(self, incoming: Incoming, specs: Sequence[TensorSpec], bucket_bytes: int) -> None:
        self._incoming = incoming
        self._specs = specs
        self._bucket_bytes = bucket_bytes
        self._digests = torch.zeros(len(specs), dtype=torch.int64, device=incoming.memories.device)

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The tensors in order. They are views of their bucket, and keep it."""
        plan = plan_buckets([spec.num_bytes for spec in self._specs], self._bucket_bytes)
        sliced: dict[int, torch.Tensor] = {}
        for pieces, bucket in zip(plan, self._incoming.fill(self._memories(plan, sliced)), strict=True):
            for piece in pieces:
                spec = self._specs[piece.tensor]
                if piece.end < spec.num_bytes:
                    continue
                raw = sliced.pop(piece.tensor) if piece.start else bucket[piece.offset : piece.offset + piece.end]
                self._digests[piece.tensor] = digest(raw)
                yield spec.name, raw.view(getattr(torch, spec.dtype)).reshape(spec.shape)

    def _memories(self, plan: list[list[Piece]], sliced: dict[int, torch.Tensor]) -> Iterator[torch.Tensor]:
        """Memory for each bucket. Slices of one tensor go to where it will lie, which is noted in ``sliced``."""
        memories = self._incoming.memories
        for pieces in plan:
            first, size = pieces[0], self._specs[pieces[0].tensor].num_bytes
            if first.end - first.start == size:
                yield memories.take(_length(pieces))
                continue
            if first.start == 0:
                sliced[first.tensor] = memories.take(size)
            yield sliced[first.tensor][first.start : first.end]

    def verify(self) -> torch.Tensor:
        """The digests that the sender took, which are those of what arrived.

        Raises:
            InfrastructureError: names the first tensors that arrived otherwise.
        """
        sent = self._incoming.digests(len(self._specs))
        wrong = (sent != self._digests).nonzero().flatten().tolist()
        if wrong:
            names = ", ".join(self._specs[index].name for index in wrong[:3])
            raise InfrastructureError("weights", f"{len(wrong)} tensors arrived with another checksum: {names}")
        return sent


def as_bytes(tensor: torch.Tensor) -> torch.Tensor:
    """The bytes of a tensor where it lies (uint8, flat)."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def digest(raw: torch.Tensor) -> int | torch.Tensor:
    """A 64-bit digest of bytes, as a signed number; computed where they lie."""
    if raw.device.type == "cpu":
        import xxhash

        value = xxhash.xxh3_64_intdigest(raw.numpy().data)
        return value - (1 << 64) if value >= 1 << 63 else value
    from tracelift_ray.transfer.checksums import DeviceChecksum

    checksum = DeviceChecksum(raw.device)
    checksum.add(raw)
    return checksum.tensor()


def joined(digests: torch.Tensor) -> str:
    """One checksum of a whole version, 16 hex digits, from the digests of its tensors."""
    import xxhash

    return xxhash.xxh3_64_hexdigest(digests.cpu().numpy().tobytes())


def _length(pieces: Sequence[Piece]) -> int:
    last = pieces[-1]
    return last.offset + last.end - last.start
