"""Buckets through memory that two processes share: GPU memory by CUDA IPC, or the machine's where there is no GPU.

The sender holds two buffers of one bucket each and fills one while the receiver empties the other, so a transfer takes
no more memory than these. A small file in /dev/shm, named after the memory, holds what both must know: two 8-byte
little-endian numbers (how many buckets are filled so far, or ``FAILED``, and how many are emptied), a digest for each
tensor, and then the handles of the buffers. Each such file has one sender and one receiver.
"""

from __future__ import annotations

import os
import pickle
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch

from tracelift_ray.errors import InfrastructureError, TransferBroken
from tracelift_ray.transfer.memories import Memories

#: Stands for the number of filled buckets where the sender gave up.
FAILED = -1
NUMBER = struct.Struct("<q")
FILLED, EMPTIED, DIGESTS = 0, NUMBER.size, 2 * NUMBER.size
#: Seconds between two looks at the other side.
POLL_S = 0.0005


class Memory(Protocol):
    """Memory that two processes can share. ``key`` tells it from any other on this machine."""

    device: torch.device
    key: str

    def buffer(self, size: int, path: Path) -> tuple[torch.Tensor, Any]:
        """A buffer of ``size`` bytes, and the handle by which another process opens it. ``path``: a file that it may
        use."""
        ...

    def opened(self, handle: Any) -> torch.Tensor:
        """The buffer of a handle."""
        ...

    def settle(self) -> None:
        """Return once what was asked of the device is done."""
        ...


class GpuMemory:
    """Memory of one GPU, shared by CUDA IPC. The number of a GPU differs from process to process; its uuid does not."""

    #: Where ``reduce_tensor`` has the number of the GPU.
    DEVICE = 6

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.key = str(torch.cuda.get_device_properties(device).uuid)

    def buffer(self, size: int, path: Path) -> tuple[torch.Tensor, Any]:
        from torch.multiprocessing.reductions import reduce_tensor

        tensor = torch.empty(size, dtype=torch.uint8, device=self.device)
        return tensor, reduce_tensor(tensor)[1]

    def opened(self, handle: Any) -> torch.Tensor:
        from torch.multiprocessing.reductions import rebuild_cuda_tensor

        arguments = list(handle)
        arguments[self.DEVICE] = self.device.index
        return rebuild_cuda_tensor(*arguments)

    def settle(self) -> None:
        torch.cuda.synchronize(self.device)


class HostMemory:
    """Files in /dev/shm, for processes without a GPU."""

    device = torch.device("cpu")
    key = "host"

    def buffer(self, size: int, path: Path) -> tuple[torch.Tensor, Any]:
        path.touch(mode=0o600)
        os.truncate(path, size)
        return self.opened(str(path)), str(path)

    def opened(self, handle: Any) -> torch.Tensor:
        return torch.from_file(handle, shared=True, size=os.path.getsize(handle), dtype=torch.uint8)

    def settle(self) -> None:
        pass


def memory_of(device: torch.device) -> Memory:
    """The memory that a process on ``device`` shares."""
    return HostMemory() if device.type == "cpu" else GpuMemory(device)


class Offered:
    """The sender's side: ``buckets.Outgoing``. Its files are at ``path`` and beside it."""

    def __init__(self, path: Path, memory: Memory, bucket_bytes: int, tensors: int, deadline_s: float) -> None:
        self.device = memory.device
        self._memory = memory
        self._wait = _Wait(path, deadline_s)
        self._turn = -1
        shared = [memory.buffer(bucket_bytes, path.with_name(f"{path.name}-buffer{i}")) for i in range(2)]
        self._buffers = [tensor for tensor, _ in shared]
        draft = path.with_name(f"{path.name}-draft")
        draft.touch(mode=0o600)
        numbers = bytes(DIGESTS + NUMBER.size * tensors)
        draft.write_bytes(numbers + pickle.dumps([handle for _, handle in shared]))
        self._descriptor = os.open(draft, os.O_RDWR)
        draft.rename(path)

    def room(self) -> torch.Tensor:
        self._turn += 1
        # What this buffer held before is the bucket before the last.
        self._wait.until(lambda: _number(self._descriptor, EMPTIED) >= self._turn - 1)
        return self._buffers[self._turn % 2]

    def ship(self, length: int) -> None:
        self._memory.settle()
        _set(self._descriptor, FILLED, self._turn + 1)

    def end(self, digests: torch.Tensor) -> None:
        os.pwrite(self._descriptor, digests.cpu().numpy().tobytes(), DIGESTS)
        _set(self._descriptor, FILLED, self._turn + 2)

    def abort(self) -> None:
        """End a wait for the receiver, from any thread, and tell the receiver."""
        self._wait.closing.set()
        _set(self._descriptor, FILLED, FAILED)

    def close(self) -> None:
        """Free the buffers."""
        self._buffers.clear()
        os.close(self._descriptor)


class Taken:
    """The receiver's side: ``buckets.Incoming``. It empties buckets into memory of its own.

    Raises:
        InfrastructureError: no sender shares this memory.
    """

    def __init__(self, path: Path, memory: Memory, bucket_bytes: int, tensors: int, deadline_s: float) -> None:
        self.memories = Memories(memory.device, bucket_bytes)
        self._memory = memory
        self._wait = _Wait(path, deadline_s)
        try:
            self._wait.until(path.exists)
        except TransferBroken:
            raise InfrastructureError(
                "weights",
                f"no learner rank that shares {memory.key} with this engine sent anything in {deadline_s:g} s ({path} "
                "is missing): use collective",
            ) from None
        self._descriptor = os.open(path, os.O_RDWR)
        handles = path.read_bytes()[DIGESTS + NUMBER.size * tensors :]  # written by our own learner, mode 0600
        self._buffers = [memory.opened(handle) for handle in pickle.loads(handles)]
        self._taken = 0

    def fill(self, memories: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
        for memory in memories:
            self._until_filled(self._taken + 1)
            memory.copy_(self._buffers[self._taken % 2][: len(memory)])
            self._memory.settle()
            self._taken += 1
            _set(self._descriptor, EMPTIED, self._taken)
            yield memory

    def digests(self, count: int) -> torch.Tensor:
        self._until_filled(self._taken + 1)
        data = bytearray(os.pread(self._descriptor, NUMBER.size * count, DIGESTS))
        return (
            torch.frombuffer(data, dtype=torch.int64).to(self._memory.device)
            if count
            else torch.zeros(0, dtype=torch.int64)
        )

    def close(self) -> None:
        """Let go of the sender's buffers."""
        self._buffers.clear()
        os.close(self._descriptor)

    def _until_filled(self, count: int) -> None:
        def filled() -> bool:
            there = _number(self._descriptor, FILLED)
            if there == FAILED:
                raise self._wait.broken("the sender gave it up")
            return there >= count

        self._wait.until(filled)


class _Wait:
    """Waits for the other side, which end with ``TransferBroken`` ``deadline_s`` from the start, or on ``closing``."""

    def __init__(self, path: Path, deadline_s: float) -> None:
        self.closing = threading.Event()
        self._path = path
        self._deadline_s = deadline_s
        self._ends = time.monotonic() + deadline_s

    def until(self, there: Callable[[], bool]) -> None:
        while not there():
            if self.closing.is_set():
                raise self.broken("it was closed")
            if time.monotonic() > self._ends:
                raise self.broken(f"nothing came for {self._deadline_s:g} s; check that the other side is alive")
            time.sleep(POLL_S)

    def broken(self, reason: str) -> TransferBroken:
        return TransferBroken("weights", f"the exchange at {self._path} broke: {reason}")


def _number(descriptor: int, offset: int) -> int:
    return NUMBER.unpack(os.pread(descriptor, NUMBER.size, offset))[0]


def _set(descriptor: int, offset: int, value: int) -> None:
    os.pwrite(descriptor, NUMBER.pack(value), offset)
