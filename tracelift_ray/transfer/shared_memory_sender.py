"""The learner's side of a weight broadcast through shared memory."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tracelift_ray.errors import InfrastructureError
from tracelift_ray.transfer.checksums import HostChecksum, hex_checksum, tensor_bytes
from tracelift_ray.transfer.manifest import Sent, TensorSpec, WeightManifest
from tracelift_ray.transfer.senders import COMPONENT, NamedTensors, SenderSettings, checked
from tracelift_ray.transfer.shared_memory import FAILED, SHM, TRAILER, Room, VersionedFiles, layout

#: A checksum is taken of so much at a time, and it is copied while it still lies in the core's cache.
CHUNK_BYTES = 1 << 18


class SharedMemorySender:
    """Writes each version into a file in /dev/shm, which receivers read while it is being written.

    The file of a version that was sent whole is written to again for a later one: new memory would take longer than the
    weights. So between versions one file stays, until ``close``. A receiver that still reads after the release has been
    given up by then: its checksum refuses a mixture of versions, and nobody waits for its receipt.
    """

    def __init__(self, settings: SenderSettings) -> None:
        self._files = VersionedFiles(settings.run_name)
        self._settings = settings
        self._rooms: dict[int, Room] = {}
        self._spare: Room | None = None

    def describe(self, specs: Sequence[TensorSpec], version: int, receivers: Sequence[str] = ()) -> WeightManifest:
        """As ``WeightSender.describe``; makes the file, so that receivers may open it at once.

        Raises:
            InfrastructureError: /dev/shm has no room for it. No receiver knows of the version then.
        """
        path, (_, end) = self._files.new(version), layout(specs)
        manifest = WeightManifest(
            version,
            "shared_memory",
            tuple(specs),
            str(path),
            self._settings.bucket_mib,
            simultaneous=True,
            deadline_s=self._settings.deadline_s,
        )
        with self._removed_on_error(manifest, end):
            self._rooms[version] = self._room(path, end + TRAILER.size)
        return manifest

    def _room(self, path: Path, num_bytes: int) -> Room:
        spare, self._spare = self._spare, None
        if spare is not None and spare.num_bytes == num_bytes:
            spare.whole = False
            spare.write_trailer(0, 0)
            spare.move(path)
            return spare
        if spare is not None:
            spare.close()
        return Room(path, num_bytes)

    def send(self, manifest: WeightManifest, tensors: NamedTensors) -> Sent:
        room = self._rooms[manifest.version]
        with self._removed_on_error(manifest, room.num_bytes):
            try:
                checksum = self._write(room, manifest, tensors)
            except BaseException:  # receivers that wait for the rest learn of it; the error propagates
                room.write_trailer(FAILED, 0)
                raise
        room.whole = True
        return Sent(hex_checksum(checksum))

    @staticmethod
    def _write(room: Room, manifest: WeightManifest, tensors: NamedTensors) -> int:
        """Write all tensors, and after each how many there are."""
        offsets, _ = layout(manifest.tensors)
        checksum = HostChecksum()
        for count, (offset, (_, tensor)) in enumerate(zip(offsets, checked(manifest, tensors), strict=True), start=1):
            data = tensor_bytes(tensor.cpu())
            for start in range(0, len(data), CHUNK_BYTES):
                chunk = data[start : start + CHUNK_BYTES]
                # Not in a separate thread: that would take a core from the receiver, which is the slower of the two.
                checksum.add(chunk)
                room.memory[offset + start : offset + start + len(chunk)] = chunk
            room.write_trailer(count, 0)
        # One more than there are tensors: the checksum is there too.
        room.write_trailer(len(offsets) + 1, checksum.value())
        return checksum.value()

    @contextmanager
    def _removed_on_error(self, manifest: WeightManifest, num_bytes: int) -> Iterator[None]:
        """An error inside leaves nothing of the version in /dev/shm."""
        try:
            yield
        except OSError as error:
            self.release(manifest.version)
            raise InfrastructureError(COMPONENT, _no_room(manifest, num_bytes, error)) from error
        except BaseException:  # any error, or Ctrl-C, which propagates
            self.release(manifest.version)
            raise

    def release(self, version: int) -> None:
        room = self._rooms.pop(version, None)
        if room is not None and room.whole and self._spare is None:
            room.move(self._files.spare())
            self._spare = room
        elif room is not None:
            room.close()
        self._files.release(version)

    def abort(self) -> None:
        """Nothing waits for receivers."""

    def close(self) -> None:
        for version in list(self._rooms):
            self.release(version)
        if self._spare is not None:
            self._spare.close()
            self._spare = None
        self._files.close()


def _free_bytes() -> int:
    stats = os.statvfs(SHM)
    return stats.f_bavail * stats.f_frsize


def _no_room(manifest: WeightManifest, num_bytes: int, error: OSError) -> str:
    if error.errno != errno.ENOSPC:
        return f"cannot write the weights of version {manifest.version} to {manifest.location}: {error.strerror}"
    return (
        f"no space in /dev/shm for version {manifest.version}: {num_bytes / 2**20:.0f} MiB needed, "
        f"{_free_bytes() / 2**20:.0f} MiB free; enlarge it (docker run --shm-size, or mount -o remount,size=… /dev/shm)"
    )
