"""The learner's side of versions that are sent as what changed: around any sender of rank 0, which carries the bytes.

Here alone is decided whether a version goes out whole. It does unless

* a version was sent before by this process (so the first one, and the first after a resume, is whole),
* every engine that will receive holds that version, by its receipt (one that was started since, or whose transfer
  broke, does not),
* the tensors are the same, by name, shape and type, and
* at most ``DENSE`` of the elements changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tracelift_ray.transfer.delta import Copy
from tracelift_ray.transfer.manifest import Change, Held, Sent, TensorSpec, WeightManifest
from tracelift_ray.transfer.senders import NamedTensors, WeightSender

if TYPE_CHECKING:
    import torch

#: The share of elements from which on a change is no longer worth its bytes (37 % of the whole) and its work.
DENSE = 0.25


@dataclass(frozen=True)
class _Ready:
    """A change that may be described and sent; ``packed``: its entries."""

    version: int
    change: Change
    packed: torch.Tensor


class DeltaSender:
    """A ``WeightSender`` that keeps the version sent last."""

    def __init__(self, sender: WeightSender) -> None:
        self._sender = sender
        self._copy: Copy | None = None
        self._ready: _Ready | None = None

    def encode(
        self, specs: Sequence[TensorSpec], version: int, tensors: Iterable[tuple[str, torch.Tensor]], held: Held | None
    ) -> None:
        """Make ready a version as a change of ``held``, which all receivers have; of none where it must be whole."""
        copy, self._ready = self._copy, None
        if copy is None or held is None or held != copy.held or copy.specs != tuple(specs):
            return
        found = copy.replace(tensors, int(DENSE * sum(spec.num_bytes for spec in specs) / 2))
        if found is not None:
            entries, checksum = found
            self._ready = _Ready(version, Change(held, checksum), entries.packed())

    def describe(self, specs: Sequence[TensorSpec], version: int, receivers: Sequence[str] = ()) -> WeightManifest:
        ready = self._ready
        if ready is None or ready.version != version:
            return replace(self._sender.describe(specs, version, receivers), kept=True)
        spec = TensorSpec("entries", tuple(ready.packed.shape), "uint8")
        described = self._sender.describe((spec,), version, receivers)
        return replace(described, kept=True, change=ready.change)

    def send(self, manifest: WeightManifest, tensors: NamedTensors) -> Sent:
        """As ``WeightSender.send``; of a change ``tensors`` are left alone. The checksum is of the whole version."""
        ready, self._ready = self._ready, None
        if ready is not None and manifest.change == ready.change and self._copy is not None:
            sent = self._sender.send(manifest, [("entries", ready.packed)])
            checksum = ready.change.checksum
        else:
            if self._copy is None or self._copy.specs != manifest.tensors:
                self._copy = Copy(manifest.tensors)
            sent = self._sender.send(manifest, self._copy.fill(tensors))
            checksum = self._copy.checksum()
        self._copy.held = Held(manifest.version, checksum)
        return replace(sent, checksum=checksum)

    def release(self, version: int) -> None:
        self._sender.release(version)

    def abort(self) -> None:
        self._sender.abort()

    def close(self) -> None:
        self._sender.close()
