"""A version of the weights as what changed since the one before, and the copies that both ends keep for it.

A version is one run of elements of 16 bits: its tensors in order, one behind the other (``Copy``). What changed is a
list of entries (``Entries``), each of two numbers: how many elements it lies behind the entry before, and by how much
its bits differ, modulo 2^16. So every pattern of bits arrives as it was, NaN and -0.0 included. At small learning rates
an element mostly moves to a neighbour, a difference of 1, and an entry takes 3 bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tracelift_ray.errors import InfrastructureError, TransferBroken
from tracelift_ray.transfer.checksums import HostChecksum, hex_checksum
from tracelift_ray.transfer.manifest import Held, TensorSpec, WeightManifest

#: The longest gap. An entry further away comes behind entries of this gap that change nothing.
FAR = (1 << 16) - 1
#: Stands for a difference that does not fit 8 bits; these follow in ``wide``.
WIDE = -128
#: Elements that are compared, copied and hashed while they lie in the core's cache.
CHUNK = 1 << 18


@dataclass(frozen=True)
class Entries:
    """What changed, as it travels: ``gaps`` (uint16) and ``steps`` (int8) of each entry, ``wide`` (int16) of some."""

    gaps: np.ndarray
    steps: np.ndarray
    wide: np.ndarray

    @staticmethod
    def of(places: np.ndarray, steps: np.ndarray) -> Entries:
        """From places in the run, ascending, and the differences there (int16)."""
        if not len(places):  # one entry, which changes nothing: a transfer has bytes
            return Entries(np.zeros(1, np.uint16), np.zeros(1, np.int8), np.zeros(0, np.int16))
        gaps = np.diff(places, prepend=0)
        ends = np.cumsum(gaps // FAR + 1) - 1
        all_gaps, all_steps = np.full(ends[-1] + 1, FAR, np.uint16), np.zeros(ends[-1] + 1, np.int8)
        all_gaps[ends] = gaps % FAR
        wide = (steps <= WIDE) | (steps >= -WIDE)
        all_steps[ends] = np.where(wide, WIDE, steps)
        return Entries(all_gaps, all_steps, steps[wide])

    def decoded(self) -> tuple[np.ndarray, np.ndarray]:
        """Places and differences."""
        places = np.cumsum(self.gaps, dtype=np.int64)
        kept = self.steps != 0
        steps = self.steps[kept].astype(np.int16)
        steps[steps == WIDE] = self.wide
        return places[kept], steps

    def packed(self) -> torch.Tensor:
        """As bytes: how many entries, as 8 bytes, then their gaps, what is wide, and their steps."""
        count = np.array([len(self.gaps)], np.int64)
        parts = (count, self.gaps, self.wide, self.steps)
        return torch.from_numpy(np.concatenate([part.view(np.uint8) for part in parts]))

    @staticmethod
    def unpacked(packed: torch.Tensor) -> Entries:
        """What ``packed`` made."""
        raw = packed.cpu().numpy()
        count = int(raw[:8].view(np.int64)[0])
        end, steps = 8 + 2 * count, len(raw) - count
        return Entries(raw[8:end].view(np.uint16), raw[steps:].view(np.int8), raw[end:steps].view(np.int16))


@dataclass(frozen=True)
class Changed:
    """One tensor's changed elements: their places in it, flat (int64), and their new values."""

    name: str
    places: torch.Tensor
    values: torch.Tensor

    def write(self, target: torch.Tensor) -> None:
        """Write them to a contiguous tensor of the same shape."""
        places, values = self.places.to(target.device), self.values.to(target.device, target.dtype)
        target.view(-1)[places] = values


class Copy:
    """A version in this machine's memory.

    Attributes:
        specs: of its tensors, each of 16-bit elements.
        held: which version it is; None while that is in doubt.
    """

    def __init__(self, specs: Sequence[TensorSpec]) -> None:
        self.specs = tuple(specs)
        self.held: Held | None = None
        self._starts = np.cumsum([0, *(math.prod(spec.shape) for spec in specs)])
        self._bits = np.empty(self._starts[-1], np.int16)

    def tensors(self) -> list[tuple[str, torch.Tensor]]:
        """Views of it."""
        run = torch.from_numpy(self._bits)
        return [
            (spec.name, run[start:end].view(getattr(torch, spec.dtype)).reshape(spec.shape))
            for spec, start, end in zip(self.specs, self._starts, self._starts[1:], strict=False)
        ]

    def fill(self, tensors: Iterable[tuple[str, torch.Tensor]]) -> Iterator[tuple[str, torch.Tensor]]:
        """Copy all of a version, and give the copies out one by one."""
        self.held = None
        for (name, tensor), (own, view) in zip(tensors, self.tensors(), strict=True):
            if name != own or tensor.shape != view.shape:
                raise ValueError(f"copying weights: got {name} {list(tensor.shape)} for {own} {list(view.shape)}")
            view.copy_(tensor)
            yield own, view

    def checksum(self) -> str:
        """Of all bytes, in order."""
        checksum = HostChecksum()
        checksum.add(self._bits.data)
        return hex_checksum(checksum.value())

    def replace(self, tensors: Iterable[tuple[str, torch.Tensor]], most: int) -> tuple[Entries, str] | None:
        """Copy all of a version. What differed, and the new checksum; None where more than ``most`` elements did."""
        self.held = None
        checksum, count = HostChecksum(), 0
        places, steps = [np.zeros(0, np.int64)], [np.zeros(0, np.int16)]
        for (_, tensor), spec, first in zip(tensors, self.specs, self._starts[:-1], strict=True):
            new = tensor.detach().to("cpu", getattr(torch, spec.dtype)).contiguous().view(-1).view(torch.int16).numpy()
            for start in range(0, len(new), CHUNK):
                part = new[start : start + CHUNK]
                own = self._bits[first + start : first + start + len(part)]
                found = _differences(part, own)
                count += len(found)
                if count <= most:
                    places.append(found + (first + start))
                    steps.append(part[found] - own[found])
                own[found] = part[found]
                checksum.add(part.data)
        if count > most:
            return None
        return Entries.of(np.concatenate(places), np.concatenate(steps)), hex_checksum(checksum.value())

    def apply(self, entries: Entries) -> list[Changed]:
        """Change what ``entries`` say; what was changed, by tensor."""
        self.held = None
        places, steps = entries.decoded()
        new = self._bits[places] + steps
        self._bits[places] = new
        bounds, values = np.searchsorted(places, self._starts), torch.from_numpy(new)
        own = torch.from_numpy(places - np.repeat(self._starts[:-1], np.diff(bounds)))
        return [
            Changed(spec.name, own[low:high], values[low:high].view(getattr(torch, spec.dtype)))
            for spec, low, high in zip(self.specs, bounds, bounds[1:], strict=False)
            if low < high
        ]


def _differences(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Where two runs of equal length differ. Eight elements are looked at together, since few do."""
    unequal = np.zeros(-(-len(one) // 8) * 8, np.bool_)
    np.not_equal(one, other, out=unequal[: len(one)])
    eights = unequal.view(np.uint64)
    some = np.flatnonzero(eights != 0)
    within = np.flatnonzero(eights[some].view(np.bool_))
    return (some[within >> 3] << 3) + (within & 7)


class Keeping:
    """A receiver's copy: every version passes through it, whole or as a change, and is checked there."""

    def __init__(self, component: str) -> None:
        self._component = component
        self.copy: Copy | None = None

    def whole(self, manifest: WeightManifest, tensors: Iterable[tuple[str, torch.Tensor]]) -> Iterator[Any]:
        """Keep the tensors of a version that arrives; as (name, tensor) where they now lie."""
        if self.copy is None or self.copy.specs != manifest.tensors:
            self.copy = Copy(manifest.tensors)
        return self.copy.fill(tensors)

    def checked(self, manifest: WeightManifest) -> str:
        """The checksum of the version that passed through ``whole``, once it has arrived as it was sent."""
        assert self.copy is not None
        checksum = self.copy.checksum()
        self.copy.held = Held(manifest.version, checksum)
        return checksum

    def changed(self, manifest: WeightManifest, tensors: Iterable[tuple[str, torch.Tensor]]) -> list[Changed]:
        """Make the version before into that of ``manifest``, whose one tensor holds the entries.

        Raises:
            TransferBroken: the copy is of another version than the change was made for.
            InfrastructureError: what results is not what the sender has.
        """
        ((_, packed),) = tensors
        copy, change = self.copy, manifest.change
        held = None if copy is None else copy.held
        assert change is not None
        if copy is None or held != change.base:
            here = "no version" if held is None else f"version {held.version} ({held.checksum})"
            raise TransferBroken(
                self._component,
                f"version {manifest.version} came as a change of version {change.base.version} "
                f"({change.base.checksum}), but here is {here}: it has to be sent whole",
            )
        changed = copy.apply(Entries.unpacked(packed))
        checksum = copy.checksum()
        if checksum != change.checksum:
            raise InfrastructureError(
                self._component,
                f"the changed weights of version {manifest.version} have checksum {checksum}, not {change.checksum}",
            )
        copy.held = Held(manifest.version, checksum)
        return changed
