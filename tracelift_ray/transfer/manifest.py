"""The messages between learner and engines about one version of the weights.

The learner describes a version in a ``WeightManifest``; an engine that has received it answers with a
``WeightReceipt``. A checksum covers the bytes of all tensors in the order of the manifest. In every transfer it follows
the weights themselves, so that each receiver checks what arrived without asking the sender.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


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
    """One version of the weights, as its receivers see it.

    Attributes:
        version: the policy version that the weights are.
        backend: how it is sent; a name in ``kinds.TRANSFERS``.
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
