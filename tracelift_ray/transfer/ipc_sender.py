"""The learner's side of a weight broadcast by CUDA IPC: each rank to the engine on its own GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from tracelift_ray.errors import TransferBroken
from tracelift_ray.transfer.buckets import joined, send
from tracelift_ray.transfer.ipc import GpuMemory, Memory, Offered
from tracelift_ray.transfer.manifest import Sent, TensorSpec, WeightManifest
from tracelift_ray.transfer.senders import NamedTensors, SenderSettings, checked, named
from tracelift_ray.transfer.shared_memory import VersionedFiles


def own_gpu(backend: str) -> torch.device:
    """The GPU that this process uses.

    Raises:
        ValueError: there is none.
    """
    if not torch.cuda.is_available():
        raise ValueError(f"weight transfer {backend} needs a GPU in every learner rank: use shared_memory on CPUs")
    return torch.device("cuda", torch.cuda.current_device())


class IpcSender:
    """Sends buckets to the engine worker on the same GPU; packs and checks alone where that engine is not up.

    Args:
        memory: what is shared with the engine; None: this process's GPU.
    """

    def __init__(self, settings: SenderSettings, memory: Memory | None = None) -> None:
        self._settings = settings
        self._memory = memory or GpuMemory(own_gpu("ipc"))
        self._files = VersionedFiles(settings.run_name)
        self._offered: Offered | None = None
        self._given_up = False
        #: Engines lie on the learner's GPUs in the order of its ranks.
        self._engine = settings.rank // settings.workers_per_receiver

    def describe(self, specs: Sequence[TensorSpec], version: int, receivers: Sequence[str] = ()) -> WeightManifest:
        return WeightManifest(
            version,
            "ipc",
            tuple(specs),
            str(self._files.new(version)),
            self._settings.bucket_mib,
            simultaneous=True,
            deadline_s=self._settings.deadline_s,
            receivers=tuple(receivers),
        )

    def send(self, manifest: WeightManifest, tensors: NamedTensors) -> Sent:
        bucket_bytes, count = manifest.bucket_mib << 20, len(manifest.tensors)
        stream = named(checked(manifest, tensors))
        if not any(name.partition(".")[0] == str(self._engine) for name in manifest.receivers):
            return Sent(joined(send(_Nowhere(self._memory, bucket_bytes), manifest.tensors, stream, bucket_bytes)))
        path = Path(f"{manifest.location}-{self._memory.key}")
        self._files.hold(manifest.version, path)
        self._offered = Offered(path, self._memory, bucket_bytes, count, manifest.deadline_s)
        try:
            if self._given_up:
                raise TransferBroken("weights", "the transfer was given up before it began")
            return Sent(joined(send(self._offered, manifest.tensors, stream, bucket_bytes)))
        except BaseException:  # the receiver, which waits for the rest, learns of it; the error propagates
            self.abort()
            raise

    def release(self, version: int) -> None:
        offered, self._offered, self._given_up = self._offered, None, False
        if offered is not None:
            offered.close()
        self._files.release(version)
        if self._memory.device.type == "cuda":
            torch.cuda.ipc_collect()

    def abort(self) -> None:
        self._given_up = True
        if self._offered is not None:
            self._offered.abort()

    def close(self) -> None:
        self.release(-1)
        self._files.close()


class _Nowhere:
    """``buckets.Outgoing`` with nobody at its other end."""

    def __init__(self, memory: Memory, bucket_bytes: int) -> None:
        self.device = memory.device
        self._buffer = torch.empty(bucket_bytes, dtype=torch.uint8, device=memory.device)

    def room(self) -> torch.Tensor:
        return self._buffer

    def ship(self, length: int) -> None:
        pass

    def end(self, digests: torch.Tensor) -> None:
        pass
