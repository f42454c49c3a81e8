"""The learner's side of a weight broadcast through shared memory."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tracelift_ray.errors import InfrastructureError
from tracelift_ray.transfer.checksums import HostChecksum, hex_checksum, tensor_bytes
from tracelift_ray.transfer.manifest import Sent, TensorSpec, WeightManifest
from tracelift_ray.transfer.senders import COMPONENT, NamedTensors, SenderSettings, checked
from tracelift_ray.transfer.shared_memory import FAILED, SHM, TRAILER, VersionedFiles, layout


class SharedMemorySender:
    """Writes each version into one file in /dev/shm, which receivers read while it is being written."""

    def __init__(self, settings: SenderSettings) -> None:
        self._files = VersionedFiles(settings.run_name)
        self._settings = settings

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
            if end > _free_bytes():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            with open(path, "xb", opener=_private) as file:
                write_all(file.fileno(), memoryview(TRAILER.pack(0, 0)), end)
        return manifest

    def send(self, manifest: WeightManifest, tensors: NamedTensors) -> Sent:
        _, end = layout(manifest.tensors)
        # Written, not mapped: a full /dev/shm is then an error instead of a SIGBUS.
        with self._removed_on_error(manifest, end), open(manifest.location, "r+b", buffering=0) as file:
            try:
                return Sent(hex_checksum(self._write(file.fileno(), manifest, tensors)))
            except BaseException:  # receivers that wait for the rest learn of it; the error propagates
                with contextlib.suppress(OSError):
                    write_all(file.fileno(), memoryview(TRAILER.pack(FAILED, 0)), end)
                raise

    @staticmethod
    def _write(descriptor: int, manifest: WeightManifest, tensors: NamedTensors) -> int:
        """Write all tensors, and after each how many there are."""
        offsets, end = layout(manifest.tensors)
        checksum = HostChecksum()
        for count, (offset, (_, tensor)) in enumerate(zip(offsets, checked(manifest, tensors), strict=True), start=1):
            data = tensor_bytes(tensor.cpu())
            # Not in a separate thread: that would take a core from the receiver, which is the slower of the two.
            checksum.add(data)
            write_all(descriptor, data, offset)
            write_all(descriptor, memoryview(TRAILER.pack(count, 0)), end)
        # One more than there are tensors: the checksum is there too.
        write_all(descriptor, memoryview(TRAILER.pack(len(offsets) + 1, checksum.value())), end)
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
        self._files.release(version)

    def abort(self) -> None:
        """Nothing waits for receivers."""

    def close(self) -> None:
        self._files.close()


def write_all(descriptor: int, data: memoryview, offset: int) -> None:
    """``pwrite`` until everything is written."""
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


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
