"""The receiver's side of a weight broadcast through shared memory."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import TYPE_CHECKING

from tracelift_ray.errors import InfrastructureError
from tracelift_ray.transfer.checksums import HostChecksum, hex_checksum
from tracelift_ray.transfer.manifest import WeightManifest
from tracelift_ray.transfer.shared_memory import FAILED, TRAILER, layout

if TYPE_CHECKING:
    import torch


class SharedMemoryReader:
    """The receiver's view of one version in shared memory, which may still be being written.

    Raises:
        InfrastructureError: the file is missing or has another size.
    """

    #: How often the sender's progress is looked at.
    POLL_S = 0.0005

    def __init__(self, manifest: WeightManifest, component: str) -> None:
        self._manifest = manifest
        self._component = component
        self._ends = time.monotonic() + manifest.deadline_s
        self._offsets, self._end = layout(manifest.tensors)
        self._descriptor = self._open()
        # Private and writable, because torch wraps only writable buffers; a page is copied when it is written to.
        try:
            self._map = mmap.mmap(
                self._descriptor, self._end, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE
            )
        except OSError as error:
            os.close(self._descriptor)
            raise InfrastructureError(component, f"cannot map {manifest.location}: {error.strerror}") from error
        self._checksum = HostChecksum()
        # Another core takes the checksum while this one loads.
        self._hasher = ThreadPoolExecutor(max_workers=1)

    def _open(self) -> int:
        path, size = self._manifest.location, self._end + TRAILER.size
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise InfrastructureError(
                self._component,
                f"cannot open the weights of version {self._manifest.version} at {path} ({error.strerror}): "
                "shared_memory needs learner rank 0 and the engine on one machine; across machines use collective",
            ) from error
        found = os.fstat(descriptor).st_size
        if found != size:
            os.close(descriptor)
            raise InfrastructureError(self._component, f"{path} has {found} bytes instead of {size}")
        return descriptor

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """(name, tensor), in order, each as soon as it has been written.

        The tensors are views of the mapping and must not be written to. None of them may be served before ``verify``.

        Raises:
            InfrastructureError: the sender gave up, or has not written the next tensor within the manifest's deadline.
        """
        import torch

        written, view = 0, memoryview(self._map)
        # One storage under all of them, so that those which follow each other can be seen as one.
        whole = torch.frombuffer(self._map, dtype=torch.uint8)
        for index, (spec, offset) in enumerate(zip(self._manifest.tensors, self._offsets, strict=True)):
            if written <= index:
                written = self._wait_for(index + 1)
            self._hasher.submit(self._checksum.add, view[offset : offset + spec.num_bytes])
            flat = whole[offset : offset + spec.num_bytes].view(getattr(torch, spec.dtype))
            yield spec.name, flat.reshape(spec.shape)

    def _wait_for(self, count: int) -> int:
        """How many tensors have been written, once these are at least ``count``."""
        while True:
            written, _ = self._trailer()
            if written >= count:
                return written
            if written == FAILED:
                raise InfrastructureError(
                    self._component, f"the learner gave up sending version {self._manifest.version}; see its log"
                )
            if time.monotonic() > self._ends:
                raise InfrastructureError(
                    self._component,
                    f"waited {self._manifest.deadline_s:g} s for tensor {count} of {len(self._offsets)} of version "
                    f"{self._manifest.version}: check that the learner is sending, or raise "
                    "stream.broadcast_deadline_s",
                )
            time.sleep(self.POLL_S)

    def verify(self) -> str:
        """The checksum of the tensors, all of which have been read. Raises InfrastructureError: not the sender's."""
        self._wait_for(len(self._offsets) + 1)
        self._hasher.shutdown(wait=True)
        found, expected = hex_checksum(self._checksum.value()), hex_checksum(self._trailer()[1])
        if found != expected:
            raise InfrastructureError(
                self._component,
                f"the weights of version {self._manifest.version} arrived with checksum {found}, sent as {expected}",
            )
        return found

    def close(self) -> None:
        """Close the file; the mapping ends with the last tensor that was read from it."""
        self._hasher.shutdown(wait=True)
        os.close(self._descriptor)
        # Unmapping half a gigabyte takes 20 ms, which the engine does not wait for.
        mapping = [self._map]
        del self._map
        Thread(target=mapping.clear, name="unmap weights").start()

    def _trailer(self) -> tuple[int, int]:
        return TRAILER.unpack(os.pread(self._descriptor, TRAILER.size, self._end))
