"""The learner's side of a weight broadcast by CUDA IPC, to engines on the same GPU."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import torch

from tracelift_ray.transfer.checksums import CHECKSUM_NAME, DeviceChecksum, hex_checksum
from tracelift_ray.transfer.manifest import Sent, TensorSpec, WeightManifest
from tracelift_ray.transfer.senders import NamedTensors, SenderSettings, checked
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
    """Offers GPU memory to engines on the same GPU: ``send`` leaves CUDA IPC handles in /dev/shm, one file per GPU,
    and keeps the tensors alive until ``release``."""

    def __init__(self, settings: SenderSettings) -> None:
        self._files = VersionedFiles(settings.run_name)
        self._settings = settings
        self._device = own_gpu("ipc")
        self._alive: dict[int, list[torch.Tensor]] = {}

    def describe(self, specs: Sequence[TensorSpec], version: int, receivers: Sequence[str] = ()) -> WeightManifest:
        location = str(self._files.new(version))
        return WeightManifest(
            version,
            "ipc",
            tuple(specs),
            location,
            self._settings.bucket_mib,
            simultaneous=False,
            deadline_s=self._settings.deadline_s,
        )

    def send(self, manifest: WeightManifest, tensors: NamedTensors) -> Sent:
        from torch.multiprocessing.reductions import reduce_tensor

        device = self._device
        checksum = DeviceChecksum(device)
        alive: list[torch.Tensor] = []
        self._alive[manifest.version] = alive
        for _, tensor in checked(manifest, tensors):
            # A reference is enough: ZeRO-3 releases a gathered parameter's memory but does not write to it.
            alive.append(tensor.to(device))
            checksum.add(alive[-1])
        alive.append(checksum.tensor())
        names = [*(spec.name for spec in manifest.tensors), CHECKSUM_NAME]
        handles = [(name, reduce_tensor(tensor)[1]) for name, tensor in zip(names, alive, strict=True)]
        torch.cuda.synchronize(device)
        path = Path(f"{manifest.location}-{torch.cuda.get_device_properties(device).uuid}")
        path.touch(mode=0o600)
        path.write_bytes(pickle.dumps(handles))
        return Sent(hex_checksum(int(alive[-1].item())))

    def release(self, version: int) -> None:
        self._files.release(version)
        if self._alive.pop(version, None) is not None:
            torch.cuda.ipc_collect()

    def abort(self) -> None:
        """Nothing waits for receivers."""

    def close(self) -> None:
        for version in list(self._alive):
            self.release(version)
        self._files.close()
