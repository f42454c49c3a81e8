"""The files in /dev/shm that carry weights on one machine: their layout, and their life.

A file holds the tensors in order, each at a multiple of ``ALIGNMENT`` bytes, then a trailer of two 8-byte little-endian
numbers: how many tensors have been written so far (``FAILED`` where the sender gave up), and the checksum, which is
there once all of them are. A receiver thus reads each tensor while the next is being written.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Sequence
from pathlib import Path

from tracelift_ray.transfer.manifest import TensorSpec

SHM = Path("/dev/shm")
ALIGNMENT = 64
TRAILER = struct.Struct("<qQ")
#: Stands in the trailer for the number of tensors written, where the sender gave up.
FAILED = -1


def layout(tensors: Sequence[TensorSpec]) -> tuple[tuple[int, ...], int]:
    """Byte offset of each tensor, and of the checksum behind them."""
    offsets, end = [], 0
    for spec in tensors:
        offsets.append(end)
        end += -(-spec.num_bytes // ALIGNMENT) * ALIGNMENT
    return tuple(offsets), end


class VersionedFiles:
    """Files in /dev/shm that belong to one run and one process, one per version; no version outlives its release."""

    def __init__(self, run_name: str) -> None:
        self._prefix = f"tracelift-{re.sub(r'[^A-Za-z0-9_.]', '_', run_name)}-"
        self._paths: dict[int, Path] = {}
        self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        """Unlink what ended processes of this run (killed ones, say) left behind."""
        for path in SHM.glob(f"{self._prefix}*-v*"):
            owner = path.name[len(self._prefix) :].partition("-")[0]
            if owner.isdigit() and not Path(f"/proc/{owner}").exists():
                path.unlink(missing_ok=True)

    def new(self, version: int) -> Path:
        path = SHM / f"{self._prefix}{os.getpid()}-v{version}"
        self._paths[version] = path
        return path

    def hold(self, version: int, path: Path) -> None:
        """Files whose names begin with ``path`` belong to a version, too, which another process may have described."""
        self._paths[version] = path

    def release(self, version: int) -> None:
        path = self._paths.pop(version, None)
        if path is not None:
            for each in path.parent.glob(f"{path.name}*"):
                each.unlink(missing_ok=True)

    def close(self) -> None:
        for version in list(self._paths):
            self.release(version)
