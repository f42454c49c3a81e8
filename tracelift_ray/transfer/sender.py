"""The learner's side of a weight broadcast: describe a version, send its tensors, let go of it.

Every rank of the learner calls ``send`` with its own iterator, because under ZeRO-3 producing a tensor is a collective;
only the ranks that a backend needs put anything on the wire. Whatever happens, nothing of a version stays behind in
/dev/shm after ``release`` or ``close``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tracelift_ray.transfer.manifest import (
    BACKENDS,
    FAILED,
    TRAILER,
    HostChecksum,
    TensorSpec,
    WeightManifest,
    hex_checksum,
    layout,
    tensor_bytes,
)
from tracelift_ray.types import InfrastructureError

if TYPE_CHECKING:
    import torch

NamedTensors = Iterable[tuple[str, "torch.Tensor"]]
SHM = Path("/dev/shm")
COMPONENT = "weight sender"


class WeightSender(Protocol):
    """Sends one version after the other to all receivers."""

    def describe(self, specs: Sequence[TensorSpec], version: int, receivers: int = 1) -> WeightManifest:
        """What the receivers will be told. On rank 0; the other ranks are given its result.

        Args:
            specs: the tensors in the order in which ``send`` will get them.
            receivers: engines that will receive this version.
        """
        ...

    def send(self, manifest: WeightManifest, tensors: NamedTensors) -> str:
        """Send one version; returns its checksum (on ranks that send nothing: an empty string).

        The memory of a tensor that the iterator yields must not be written to again before ``release``.

        Raises:
            InfrastructureError: no space, no peer, or past the deadline.
            ValueError: the tensors are not those that were described.
        """
        ...

    def release(self, version: int) -> None:
        """All receivers have the version: free what was held for it."""
        ...

    def close(self) -> None:
        """Release every version and leave the channel."""
        ...


def build_weight_sender(
    backend: str,
    run_name: str,
    bucket_mib: int,
    *,
    deadline_s: float,
    rank: int = 0,
    workers_per_receiver: int = 1,
    address: str | None = None,
) -> WeightSender:
    """The sender of a backend.

    Args:
        backend: ``shared_memory``, ``nccl`` or ``ipc``.
        rank: of this learner process. Rank 0 sends; on ``ipc`` every rank offers its copy to the engines on its GPU.
        workers_per_receiver: tensor-parallel size of each engine (nccl).
        address: where engines reach rank 0 (nccl); None: this machine's own.

    Raises:
        ValueError: an unknown backend.
    """
    if backend not in BACKENDS:
        raise ValueError(f"unknown weight transfer {backend!r}: use one of {', '.join(BACKENDS)}")
    if backend == "ipc":
        from tracelift_ray.transfer.gpu_senders import IpcSender

        return IpcSender(run_name, bucket_mib, deadline_s)
    if rank != 0:
        return SilentSender()
    if backend == "nccl":
        from tracelift_ray.transfer.gpu_senders import NcclSender

        return NcclSender(bucket_mib, deadline_s, workers_per_receiver, address or own_address())
    return SharedMemorySender(run_name, bucket_mib, deadline_s)


def parameter_specs(parameters: Iterable[tuple[str, torch.Tensor]], dtype: str) -> tuple[TensorSpec, ...]:
    """Specs of named parameters as they go on the wire.

    Args:
        parameters: names as in the Hugging Face checkpoint, each tied tensor once (``module.named_parameters()`` does
            both). Parameters partitioned by ZeRO-3 are empty here; their full shape is read from ``ds_shape``.
        dtype: torch dtype on the wire, such as ``float32``.
    """
    return tuple(
        TensorSpec(name, tuple(getattr(parameter, "ds_shape", parameter.shape)), dtype)
        for name, parameter in parameters
    )


def own_address() -> str:
    """The address of this machine as other machines see it; 127.0.0.1 where it has no network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a documentation address: picks the outgoing interface, sends nothing
            return probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"


def checked(manifest: WeightManifest, tensors: NamedTensors) -> Iterator[tuple[TensorSpec, torch.Tensor]]:
    """The tensors in the wire dtype, each checked against its spec, within the manifest's deadline."""
    import torch

    ends = time.monotonic() + manifest.deadline_s
    specs = iter(manifest.tensors)
    for name, tensor in tensors:
        spec = next(specs, None)
        if spec is None or spec.name != name or spec.shape != tuple(tensor.shape):
            expected = "nothing more" if spec is None else f"{spec.name} {list(spec.shape)}"
            raise ValueError(f"sending weights: got {name} {list(tensor.shape)} where {expected} was described")
        if time.monotonic() > ends:
            raise InfrastructureError(
                COMPONENT,
                f"sending version {manifest.version} took more than {manifest.deadline_s:g} s (now at {name}): "
                "check the load of this machine, or raise stream.broadcast_deadline_s",
            )
        yield spec, tensor.detach().to(getattr(torch, spec.dtype)).contiguous()
    missing = next(specs, None)
    if missing is not None:
        raise ValueError(f"sending weights: {missing.name} was described but not sent")


class SilentSender:
    """A rank that sends nothing, but takes part in producing the tensors."""

    def describe(self, specs: Sequence[TensorSpec], version: int, receivers: int = 1) -> WeightManifest:
        raise RuntimeError("only rank 0 describes the weights that are sent")

    def send(self, manifest: WeightManifest, tensors: NamedTensors) -> str:
        for _ in tensors:
            pass
        return ""

    def release(self, version: int) -> None:
        pass

    def close(self) -> None:
        pass


class VersionedFiles:
    """Files in /dev/shm that belong to one run and one process, one per version; no version outlives its release."""

    def __init__(self, run_name: str) -> None:
        self._prefix = f"tracelift-{re.sub(r'[^A-Za-z0-9_.]', '_', run_name)}-"
        self._paths: dict[int, Path] = {}
        self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        """Unlink what processes of this run that are no more (killed ones, say) left behind."""
        for path in SHM.glob(f"{self._prefix}*-v*"):
            owner = path.name[len(self._prefix) :].partition("-")[0]
            if owner.isdigit() and not Path(f"/proc/{owner}").exists():
                path.unlink(missing_ok=True)

    def new(self, version: int) -> Path:
        path = SHM / f"{self._prefix}{os.getpid()}-v{version}"
        self._paths[version] = path
        return path

    def release(self, version: int) -> None:
        path = self._paths.pop(version, None)
        if path is not None:
            for each in path.parent.glob(f"{path.name}*"):
                each.unlink(missing_ok=True)

    def close(self) -> None:
        for version in list(self._paths):
            self.release(version)


class SharedMemorySender:
    """Writes each version into one file in /dev/shm, which receivers read while it is being written."""

    def __init__(self, run_name: str, bucket_mib: int, deadline_s: float) -> None:
        self._files = VersionedFiles(run_name)
        self._bucket_mib = bucket_mib
        self._deadline_s = deadline_s

    def describe(self, specs: Sequence[TensorSpec], version: int, receivers: int = 1) -> WeightManifest:
        """As ``WeightSender.describe``; makes the file, so that receivers may open it at once.

        Raises:
            InfrastructureError: /dev/shm has no room for it. No receiver has been told of the version then.
        """
        path, (_, end) = self._files.new(version), layout(specs)
        manifest = WeightManifest(
            version, "shared_memory", tuple(specs), str(path), self._bucket_mib, True, self._deadline_s
        )
        with self._giving_up(manifest, end):
            if end > _free_bytes():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            with open(path, "xb", opener=_private) as file:
                write_all(file.fileno(), memoryview(TRAILER.pack(0, 0)), end)
        return manifest

    def send(self, manifest: WeightManifest, tensors: NamedTensors) -> str:
        _, end = layout(manifest.tensors)
        # Written, not mapped: a full /dev/shm is then an error that can be told instead of a SIGBUS.
        with self._giving_up(manifest, end), open(manifest.location, "r+b", buffering=0) as file:
            try:
                return hex_checksum(self._write(file.fileno(), manifest, tensors))
            except BaseException:  # whatever ended it, receivers that wait for the rest are told, and it goes on
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
            # On no thread of its own: that would take a core from the receiver, which is the slower of the two.
            checksum.add(data)
            write_all(descriptor, data, offset)
            write_all(descriptor, memoryview(TRAILER.pack(count, 0)), end)
        # One more than there are tensors: the checksum is there too.
        write_all(descriptor, memoryview(TRAILER.pack(len(offsets) + 1, checksum.value())), end)
        return checksum.value()

    @contextmanager
    def _giving_up(self, manifest: WeightManifest, num_bytes: int) -> Iterator[None]:
        """Whatever ends what is within, nothing of the version stays in /dev/shm."""
        try:
            yield
        except OSError as error:
            self.release(manifest.version)
            raise InfrastructureError(COMPONENT, _no_room(manifest, num_bytes, error)) from error
        except BaseException:  # an error of any kind, or Ctrl-C; it goes on
            self.release(manifest.version)
            raise

    def release(self, version: int) -> None:
        self._files.release(version)

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
