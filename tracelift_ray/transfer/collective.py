"""Weights over a collective: packed into buckets and broadcast from the learner's first rank to every engine worker.

The same code runs over gloo between CPUs and over NCCL between GPUs. The group belongs to no other group of the
process (DeepSpeed's, vLLM's). It stays open from version to version and is opened again only where its members
changed or a transfer broke it.

On the wire: the tensors in the order of the manifest as one stream of bytes, each at a multiple of ``ALIGNMENT``, cut
into buckets of ``bucket_mib``; then one 64-bit digest for each tensor. A receiver loads the tensors of bucket k while
bucket k + 1 travels. Digests are taken tensor by tensor and compared one by one, so a mismatch is named, and nothing
depends on the order in which streams of a device get to them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch

from tracelift_ray.transfer.manifest import TensorSpec
from tracelift_ray.types import InfrastructureError

#: Bytes at whose multiples a tensor starts, so that it can be read as any type where it lies.
ALIGNMENT = 64
SENDER = 0
#: Seconds between two looks at a broadcast that is under way.
POLL_S = 0.0005


@dataclass(frozen=True)
class Channel:
    """Where the sender (rank 0) and every worker of every receiver meet, and over what.

    ``key`` tells one group from the next at the same place: a member whose key differs opens a new one.
    """

    address: str
    port: int
    world_size: int
    backend: str
    key: str


class Communicator:
    """One member of a channel's group. Opening it blocks until all members are there, or raises after ``timeout_s``."""

    def __init__(self, channel: Channel, rank: int, timeout_s: float, device: torch.device) -> None:
        self.channel = channel
        self.rank = rank
        self.device = device
        self._under_way: deque[Any] = deque()
        limit = timedelta(seconds=timeout_s)
        try:
            store = torch.distributed.TCPStore(
                channel.address, channel.port, channel.world_size, is_master=rank == SENDER, timeout=limit
            )
            prefixed = torch.distributed.PrefixStore(channel.key, store)
            self._group = _open_group(channel.backend, prefixed, rank, channel.world_size, limit)
        except RuntimeError as error:
            raise InfrastructureError("weights", f"no channel at {channel.address}:{channel.port}: {error}") from error

    def start(self, buffer: torch.Tensor) -> None:
        """Start to send ``buffer`` to all members, or to fill it on those that receive."""
        if self._group is None:
            raise InfrastructureError("weights", "the channel is closed")
        options = torch.distributed.BroadcastOptions()
        options.rootRank = SENDER
        options.rootTensor = 0
        self._under_way.append(self._group.broadcast([buffer], options))

    def finish(self) -> None:
        """Wait for the broadcast that was started first. Raises ``InfrastructureError`` where a member is lost."""
        reason = "it was closed"
        try:
            # Polled: a wait inside gloo cannot be ended from another thread.
            while self._under_way and not self._under_way[0].is_completed():
                time.sleep(POLL_S)
            if self._under_way:
                self._under_way[0].wait()
                self._under_way.popleft()
                return
        except (RuntimeError, IndexError) as error:  # the last one: closed by another thread
            reason = str(error).strip().splitlines()[0]
        # Outside the handler: the error of torch holds the broadcast, and with it the connections.
        self.close()
        raise InfrastructureError("weights", f"the channel broke: {reason}")

    def finish_all(self) -> None:
        """Wait for every broadcast that was started."""
        while self._under_way:
            self.finish()

    def close(self) -> None:
        """Leave the group, from any thread: waits in it end with an error, here and at every other member."""
        group, self._group = self._group, None
        works = list(self._under_way)
        self._under_way.clear()
        if group is not None:
            group.abort()
            # Freed by a thread, since freeing a group waits for what it has under way.
            threading.Thread(target=_free, args=([group, works],), daemon=True).start()


def _free(held: list[Any]) -> None:
    held.clear()


def _open_group(backend: str, store: Any, rank: int, size: int, limit: timedelta) -> Any:
    if backend == "gloo":
        return torch.distributed.ProcessGroupGloo(store, rank, size, limit)
    options = torch.distributed.ProcessGroupNCCL.Options()
    options._timeout = limit
    return torch.distributed.ProcessGroupNCCL(store, rank, size, options)


@dataclass(frozen=True)
class Piece:
    """Bytes ``start`` to ``end`` of one tensor, at ``offset`` in their bucket."""

    tensor: int
    start: int
    end: int
    offset: int


def plan_buckets(sizes: Sequence[int], bucket_bytes: int) -> list[list[Piece]]:
    """Cut tensors of ``sizes`` bytes into buckets, the same on every member. A tensor may span many buckets."""
    buckets: list[list[Piece]] = [[]]
    used = 0
    for index, size in enumerate(sizes):
        start = 0
        while start < size:
            if used >= bucket_bytes:
                buckets.append([])
                used = 0
            end = min(size, start + bucket_bytes - used)
            buckets[-1].append(Piece(index, start, end, used))
            used += -(-(end - start) // ALIGNMENT) * ALIGNMENT
            start = end
    return [bucket for bucket in buckets if bucket]


def send(
    communicator: Communicator,
    specs: Sequence[TensorSpec],
    tensors: Iterator[tuple[str, torch.Tensor]],
    bucket_bytes: int,
) -> torch.Tensor:
    """Broadcast ``tensors``, which are those of ``specs`` in order. Returns their digests (int64, one for each)."""
    buffers = [torch.empty(bucket_bytes, dtype=torch.uint8, device=communicator.device) for _ in range(2)]
    digests = torch.zeros(len(specs), dtype=torch.int64, device=communicator.device)
    current, raw = -1, torch.empty(0, dtype=torch.uint8)
    for turn, pieces in enumerate(plan_buckets([spec.num_bytes for spec in specs], bucket_bytes)):
        buffer = buffers[turn % 2]
        if turn > 1:
            communicator.finish()
        for piece in pieces:
            if piece.tensor != current:
                current = piece.tensor
                raw = as_bytes(next(tensors)[1].to(communicator.device))
                digests[current] = digest(raw)
            buffer[piece.offset : piece.offset + piece.end - piece.start].copy_(raw[piece.start : piece.end])
        communicator.start(buffer[: _length(pieces)])
    communicator.start(digests)
    communicator.finish_all()
    return digests


class Receiver:
    """Takes one version: iterate ``tensors()`` to its end, then ask ``verify()``."""

    def __init__(self, communicator: Communicator, specs: Sequence[TensorSpec], bucket_bytes: int) -> None:
        self._communicator = communicator
        self._specs = specs
        self._bucket_bytes = bucket_bytes
        self._digests = torch.zeros(len(specs), dtype=torch.int64, device=communicator.device)

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The tensors in order, each with memory that stays its own. The next bucket travels meanwhile."""
        device = self._communicator.device
        buffers = [torch.empty(self._bucket_bytes, dtype=torch.uint8, device=device) for _ in range(2)]
        plan = plan_buckets([spec.num_bytes for spec in self._specs], self._bucket_bytes)
        if plan:
            self._communicator.start(buffers[0][: _length(plan[0])])
        raw = torch.empty(0, dtype=torch.uint8)
        for turn, pieces in enumerate(plan):
            self._communicator.finish()
            if turn + 1 < len(plan):
                self._communicator.start(buffers[(turn + 1) % 2][: _length(plan[turn + 1])])
            for piece in pieces:
                spec = self._specs[piece.tensor]
                if piece.start == 0:
                    raw = torch.empty(spec.num_bytes, dtype=torch.uint8, device=device)
                part = buffers[turn % 2][piece.offset : piece.offset + piece.end - piece.start]
                raw[piece.start : piece.end].copy_(part)
                if piece.end == spec.num_bytes:
                    self._digests[piece.tensor] = digest(raw)
                    yield spec.name, raw.view(getattr(torch, spec.dtype)).reshape(spec.shape)

    def verify(self) -> torch.Tensor:
        """The digests that the sender took, which are those of what arrived.

        Raises:
            InfrastructureError: names the first tensor that arrived otherwise.
        """
        sent = torch.zeros_like(self._digests)
        self._communicator.start(sent)
        self._communicator.finish_all()
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
    from tracelift_ray.transfer.manifest import DeviceChecksum

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
