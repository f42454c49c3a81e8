"""Weights over a collective: packed into buckets and broadcast from the learner's first rank to every engine worker.

The same code runs over gloo between CPUs and over NCCL between GPUs. The group belongs to no other group of the
process (DeepSpeed's, vLLM's). It stays open from version to version and is opened again only where its members
changed or a transfer broke it. On the wire are buckets and digests, as ``buckets`` has them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch

from tracelift_ray.config.errors import first_line
from tracelift_ray.errors import TransferBroken
from tracelift_ray.transfer.buckets import Receiver
from tracelift_ray.transfer.manifest import Channel, WeightManifest
from tracelift_ray.transfer.memories import Memories

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
        raise TransferBroken("weights", f"no channel at {address}:{port}: {first_line(error)}") from error


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
        self._memories: Memories | None = None
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
            raise self._broken(f"it did not open: {first_line(error)}") from None
        except TransferBroken:
            self.close()
            raise

    def renew(self, timeout_s: float) -> None:
        """Waits from now on may last until ``timeout_s`` from now."""
        self._timeout_s = timeout_s
        self._ends = time.monotonic() + timeout_s
        self._looked = 0.0

    def memories(self, bucket_bytes: int) -> Memories:
        """Memory for buckets, kept from version to version."""
        if self._memories is None or self._memories.size != bucket_bytes:
            self._memories = Memories(self.device, bucket_bytes)
        return self._memories

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
            raise self._broken(first_line(error)) from None

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
            failure = self._broken(first_line(error))
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


class Broadcasts:
    """The buckets of one version over an open channel: ``Outgoing`` at the sender, ``Incoming`` at the others."""

    def __init__(self, communicator: Communicator, bucket_bytes: int) -> None:
        self.device = communicator.device
        self.memories = communicator.memories(bucket_bytes)
        self._communicator = communicator
        self._buffers: list[torch.Tensor] = []
        self._turn = -1

    def room(self) -> torch.Tensor:
        self._turn += 1
        if self._turn < 2:
            self._buffers.append(self.memories.take(self.memories.size))
        else:
            self._communicator.finish()
        return self._buffers[self._turn % 2]

    def ship(self, length: int) -> None:
        self._communicator.start(self._buffers[self._turn % 2][:length])

    def end(self, digests: torch.Tensor) -> None:
        self._communicator.start(digests)
        self._communicator.finish_all()

    def fill(self, memories: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
        coming = next(memories, None)
        if coming is not None:
            self._communicator.start(coming)
        while coming is not None:
            filled, coming = coming, next(memories, None)
            self._communicator.finish()
            if coming is not None:
                self._communicator.start(coming)
            yield filled

    def digests(self, count: int) -> torch.Tensor:
        sent = torch.zeros(count, dtype=torch.int64, device=self.device)
        self._communicator.start(sent)
        self._communicator.finish_all()
        return sent


def receiver(manifest: WeightManifest, communicator: Communicator) -> Receiver:
    """What takes the version of ``manifest`` over an open channel."""
    bucket_bytes = manifest.bucket_mib << 20
    return Receiver(Broadcasts(communicator, bucket_bytes), manifest.tensors, bucket_bytes)
