"""The messages between learner and engines about one version of the weights.

The learner describes a version in a ``WeightManifest``; an engine that has received it answers with a
``WeightReceipt``. A checksum covers the bytes of all tensors in the order of the manifest. In every transfer it follows
the weights themselves, so that each receiver checks what arrived without asking the sender.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

#: Bytes of an element by torch dtype; the run's own process counts without torch.
ITEM_BYTES = {
    **{"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1},
    **{"int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1},
}


@dataclass(frozen=True)
class TensorSpec:
    """One tensor on the wire: its Hugging Face checkpoint name, full shape, and torch dtype such as ``bfloat16``."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


@dataclass(frozen=True)
class Channel:
    """Where the sender (rank 0) and every worker of every receiver meet, and over what.

    Attributes:
        kind: ``gloo`` between CPUs, ``nccl`` between GPUs.
        key: tells one group from the next at the same place: a member whose key differs opens a new one.
        receivers: names of the engines, which tell an engine from the one that was started in its place.
        workers_per_receiver: tensor-parallel size of each.
    """

    address: str
    port: int
    kind: str
    key: str
    receivers: tuple[str, ...]
    workers_per_receiver: int = 1

    @property
    def world_size(self) -> int:
        return 1 + len(self.receivers) * self.workers_per_receiver

    def rank(self, receiver: str, worker: int) -> int:
        """The rank of one worker of one engine. ValueError for an engine that was not described."""
        return 1 + self.receivers.index(receiver) * self.workers_per_receiver + worker

    def __str__(self) -> str:
        return f"the {self.kind} channel at {self.address}:{self.port}"


@dataclass(frozen=True)
class Held:
    """A version that an engine has, by the receipt that it gave."""

    version: int
    checksum: str


@dataclass(frozen=True)
class Change:
    """Says that tensors are no version but what changed since ``base``; ``checksum`` is of the version that results."""

    base: Held
    checksum: str


@dataclass(frozen=True)
class WeightManifest:
    """One version of the weights, as its receivers see it.

    Attributes:
        version: the policy version that the weights are.
        backend: how it is sent; a name in ``kinds.TRANSFERS``.
        tensors: in the order in which they are sent.
        location: path of the shared-memory file, or of the IPC handles; empty for a collective.
        bucket_mib: a collective packs tensors into buckets of this many MiB.
        simultaneous: whether receivers receive while the sender sends, or start after it.
        deadline_s: for the sender, and for each receiver.
        channel: where a collective meets.
        receivers: names of the engines that will receive, where the sender has to know them.
        parts: references of packed buckets, where receivers fetch them.
        receiver: name of the engine that this manifest is for.
        adapter: PEFT's configuration, where the tensors are those of adapters alone.
        kept: receivers keep a copy of this version, since the next one may be a change to it.
        change: where the one tensor holds ``delta.Entries``.
    """

    version: int
    backend: str
    tensors: tuple[TensorSpec, ...]
    location: str
    bucket_mib: int
    simultaneous: bool
    deadline_s: float
    channel: Channel | None = None
    receivers: tuple[str, ...] = ()
    parts: tuple[Any, ...] = ()
    receiver: str = ""
    adapter: dict[str, Any] | None = None
    kept: bool = False
    change: Change | None = None

    @property
    def num_bytes(self) -> int:
        """Of all tensors."""
        return sum(spec.num_bytes for spec in self.tensors)

    def for_receiver(self, name: str) -> WeightManifest:
        """The manifest as the engine of that name needs it."""
        return replace(self, receiver=name)

    def with_parts(self, parts: tuple[Any, ...]) -> WeightManifest:
        """The manifest with the references of what was sent."""
        return replace(self, parts=parts)

    def fields(self) -> dict[str, Any]:
        """The manifest as plain values, for channels that carry nothing else."""
        return asdict(self)

    @staticmethod
    def of(fields: dict[str, Any]) -> WeightManifest:
        """The manifest that ``fields`` came from, whatever a channel made of its tuples."""
        tensors = tuple(TensorSpec(each["name"], tuple(each["shape"]), each["dtype"]) for each in fields["tensors"])
        channel = fields["channel"]
        if channel is not None:
            channel = Channel(**{**channel, "receivers": tuple(channel["receivers"])})
        change = fields["change"]
        if change is not None:
            change = Change(Held(**change["base"]), change["checksum"])
        tuples = {"tensors": tensors, "receivers": tuple(fields["receivers"]), "parts": tuple(fields["parts"])}
        return WeightManifest(**{**fields, **tuples, "channel": channel, "change": change})


@dataclass(frozen=True)
class Sent:
    """What a sender sent: the checksum of a version, and its ``WeightManifest.parts`` (on ranks that send nothing: an
    empty checksum)."""

    checksum: str
    parts: tuple[Any, ...] = ()


@dataclass(frozen=True)
class WeightReceipt:
    """What an engine serves after a transfer: the version, and the checksum (16 hex digits) of what arrived.

    ``workers`` holds the checksum that each worker of the engine took; they are all equal to ``checksum``.
    """

    version: int
    checksum: str
    workers: tuple[str, ...]
