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

from tracelift_ray.transfer.manifest import Channel, TensorSpec, WeightManifest
from tracelift_ray.types import InfrastructureError, TransferBroken

#: Bytes at whose multiples a tensor starts, so that it can be read as any type where it lies.
ALIGNMENT = 64
SENDER = 0
#: Seconds between two looks at a broadcast that is under way, and between two at whether the sender gave up.
POLL_S = 0.0005
LOOK_S = 0.2
CLOSED = "closed"


def open_store(address: str, port: int, timeout_s: float, *, serves: bool) -> Any:
    """The store at which members meet; the sender serves it (port 0: any that is free).

    Raises:
        TransferBroken: the sender's store cannot be reached.
    """
    try:
        return torch.distributed.TCPStore(
            address, port, is_master=serves, timeout=timedelta(seconds=timeout_s), wait_for_workers=False
        )
    except RuntimeError as error:
        raise TransferBroken("weights", f"no channel at {address}:{port}: {_first_line(error)}") from error


class Communicator:
    """One member of a channel's group.

    Every wait ends with ``TransferBroken`` where a member is lost, ``timeout_s`` has passed since the last ``renew``,
    or the sender gave up.
    """

    def __init__(self, store: Any, channel: Channel, rank: int, timeout_s: float, device: torch.device) -> None:
        self.channel = channel
        self.rank = rank
        self.device = device
        self._base = store
        self._store = torch.distributed.PrefixStore(channel.key, store)
        self._closing = threading.Event()
        self._under_way: deque[Any] = deque()
        self._group: Any = None
        self.renew(timeout_s)

    def open(self) -> None:
        """Wait until all members are there, and open the group; does nothing where it is open."""
        if self._group is not None:
            return
        try:
            self._meet()
            # A connection of its own, so that no wait of the group holds up ``close``.
            own = torch.distributed.PrefixStore(self.channel.key, self._base.clone())
            self._group = _open_group(self.channel, own, self.rank, timedelta(seconds=self._timeout_s))
        except RuntimeError as error:
            self.close()
            raise self._broken(f"it did not open: {_first_line(error)}") from None
        except TransferBroken:
            self.close()
            raise

    def renew(self, timeout_s: float) -> None:
        """Waits from now on may last until ``timeout_s`` from now."""
        self._timeout_s = timeout_s
        self._ends = time.monotonic() + timeout_s
        self._looked = 0.0

    def start(self, buffer: torch.Tensor) -> None:
        """Start to send ``buffer`` to all members, or to fill it on those that receive."""
        group = self._group
        if group is None or self._closing.is_set():
            raise self._broken("it was closed")
        options = torch.distributed.BroadcastOptions()
        options.rootRank = SENDER
        options.rootTensor = 0
        try:
            self._under_way.append(group.broadcast([buffer], options))
        except RuntimeError as error:
            raise self._broken(_first_line(error)) from None

    def finish(self) -> None:
        """Wait for the broadcast that was started first."""
        failure = self._broken("it was closed")
        try:
            # Polled: a wait inside gloo or NCCL cannot be ended from another thread.
            while self._under_way and not self._under_way[0].is_completed():
                self._look()
            if self._under_way:
                self._under_way[0].wait()
                self._under_way.popleft()
                return
        except TransferBroken as error:
            failure = error
        except IndexError:  # closed by another thread
            pass
        except RuntimeError as error:
            failure = self._broken(_first_line(error))
        # Outside the handler: the error of torch holds the broadcast, and with it the connections.
        self.close()
        raise failure

    def finish_all(self) -> None:
        """Wait for every broadcast that was started."""
        while self._under_way:
            self.finish()

    def close(self) -> None:
        """Leave the group, from any thread: waits in it end, here and at every other member."""
        if self._closing.is_set():
            return
        self._closing.set()
        if self.rank == SENDER:
            self._store.set(CLOSED, "1")
        # Freed by a thread, since freeing a group waits for what it has under way: nothing else may hold these.
        held = [*self._under_way, self._group]
        self._group = None
        self._under_way.clear()
        if held[-1] is not None:
            held[-1].abort()
            threading.Thread(target=held.clear, daemon=True).start()

    def _meet(self) -> None:
        """Return when every member has come. The group opens in a moment then, and no wait in it is a long one."""
        self._store.set(f"member {self.rank}", "here")
        members = [f"member {rank}" for rank in range(self.channel.world_size)]
        while not self._store.check(members):
            self._look()

    def _look(self) -> None:
        """Sleep a moment. Raises ``TransferBroken`` where there is nothing more to wait for."""
        now = time.monotonic()
        if self._closing.is_set():
            raise self._broken("it was closed")
        if now > self._ends:
            raise self._broken(f"nothing came for {self._timeout_s:g} s; check that every planner engine is alive")
        if self.rank != SENDER and now - self._looked > LOOK_S:
            self._looked = now
            try:
                given_up = self._store.check([CLOSED])
            except RuntimeError:
                raise self._broken("the sender is gone") from None
            if given_up:
                raise self._broken("the sender gave it up")
        time.sleep(POLL_S)

    def _broken(self, reason: str) -> TransferBroken:
        return TransferBroken("weights", f"{self.channel} broke: {reason}")


def _open_group(channel: Channel, store: Any, rank: int, limit: timedelta) -> Any:
    if channel.kind == "gloo":
        return torch.distributed.ProcessGroupGloo(store, rank, channel.world_size, limit)
    options = torch.distributed.ProcessGroupNCCL.Options()
    options._timeout = limit
    return torch.distributed.ProcessGroupNCCL(store, rank, channel.world_size, options)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def device_for(kind: str) -> torch.device:
    """Where a process keeps the buckets of a channel.

    Raises:
        ValueError: nccl without a GPU.
    """
    if kind == "gloo":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError("weights over nccl need a GPU in learner rank 0 and in every planner engine: use gloo on CPUs")
    return torch.device("cuda", torch.cuda.current_device())


def join_channel(manifest: WeightManifest, worker: int, known: Communicator | None) -> Communicator:
    """The channel of ``manifest`` at one worker: ``known`` where it is still the same, else a new one."""
    channel = manifest.channel
    if channel is None:
        raise ValueError("the manifest of a collective names its channel")
    if known is None or known.channel != channel:
        if known is not None:
            known.close()
        store = open_store(channel.address, channel.port, manifest.deadline_s, serves=False)
        rank = channel.rank(manifest.receiver, worker)
        known = Communicator(store, channel, rank, manifest.deadline_s, device_for(channel.kind))
    known.renew(manifest.deadline_s)
    known.open()
    return known


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
