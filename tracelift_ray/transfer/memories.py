"""Memory for buckets, and for tensors that are larger, which is used again as soon as no tensor lies in it any more.

On a CPU, where the page faults of new memory cost more than copying into it, memory comes back when the last tensor
that views it is gone, and is kept for the next one. On a GPU torch's own allocator does this.
"""

from __future__ import annotations

import mmap
import weakref
from collections import defaultdict

import numpy as np
import torch


class Memories:
    """Buffers on ``device``, of ``size`` bytes or what is asked for beyond; as many as are in use at a time."""

    def __init__(self, device: torch.device, size: int) -> None:
        self.device = device
        self.size = size
        self._free: defaultdict[int, list[np.ndarray]] = defaultdict(list)

    def take(self, length: int) -> torch.Tensor:
        """A buffer of ``length`` bytes (uint8), not zeroed. It is the caller's, and of all that view it."""
        if self.device.type != "cpu":
            return torch.empty(length, dtype=torch.uint8, device=self.device)
        capacity = max(self.size, length)
        free = self._free[capacity]
        # Mapped, not allocated: between buckets the heap would be left with gaps that nothing fits.
        memory = free.pop() if free else np.frombuffer(mmap.mmap(-1, capacity), dtype=np.uint8)
        lent = memory[:length]  # an object for this use alone; torch lets go of it with the last tensor
        weakref.finalize(lent, free.append, memory).atexit = False
        return torch.from_numpy(lent)
