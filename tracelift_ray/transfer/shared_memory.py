"""The files in /dev/shm that carry weights on one machine: their layout, and their life.

A file holds the tensors in order, each at a multiple of ``ALIGNMENT`` bytes, then a trailer of two 8-byte little-endian
numbers: how many tensors have been written so far (``FAILED`` where the sender gave up), and the checksum, which is
there once all of them are. A receiver thus reads each tensor while the next is being written.
"""

from __future__ import annotations

import mmap
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


class Room:
    """A file in /dev/shm with all of its memory, mapped. One version after the other may be written to it.

    Args:
        path: of the file, which is made.
        num_bytes: its size.

    Attributes:
        whole: whether all of a version has been written.

    Raises:
        OSError: there is no room for all of it. Later, a write through the mapping would end the process by SIGBUS.
    """

    def __init__(self, path: Path, num_bytes: int) -> None:
        self.path, self.num_bytes, self.whole = path, num_bytes, False
        self._file = open(path, "x+b", buffering=0, opener=_private)  # noqa: SIM115 (closed by ``close``)
        try:
            os.posix_fallocate(self._file.fileno(), 0, num_bytes)
            self.memory = memoryview(mmap.mmap(self._file.fileno(), num_bytes))
        except BaseException:  # which propagates
            self._file.close()
            raise

    def move(self, path: Path) -> None:
        """Give the file another name."""
        self.path.rename(path)
        self.path = path

    def write_trailer(self, written: int, checksum: int) -> None:
        """Say what is there. A call of the system, so that receivers never see it before the bytes that it tells of."""
        data = TRAILER.pack(written, checksum)
        if os.pwrite(self._file.fileno(), data, self.num_bytes - TRAILER.size) != len(data):
            raise OSError(f"a short write to {self.path}")

    def close(self) -> None:
        """Remove the file. Receivers that have opened it keep what they see."""
        self.path.unlink(missing_ok=True)
        self._file.close()
        del self.memory


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


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

    def spare(self) -> Path:
        """The name of a file that holds no version."""
        return SHM / f"{self._prefix}{os.getpid()}-v-spare"

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
