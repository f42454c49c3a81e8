"""Weight broadcast between GPUs: CUDA IPC on one GPU, NCCL across GPUs and machines, over vLLM's own receivers."""

from __future__ import annotations

import pickle
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from tracelift_ray.transfer.checksums import CHECKSUM_NAME, DeviceChecksum, hex_checksum
from tracelift_ray.transfer.manifest import NcclChannel, TensorSpec, WeightManifest
from tracelift_ray.transfer.senders import COMPONENT, NamedTensors, SenderSettings, checked, own_address
from tracelift_ray.transfer.shared_memory import VersionedFiles
from tracelift_ray.types import InfrastructureError


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

    def describe(self, specs: Sequence[TensorSpec], version: int, receivers: int = 1) -> WeightManifest:
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

    def send(self, manifest: WeightManifest, tensors: NamedTensors) -> str:
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
        return hex_checksum(int(alive[-1].item()))

    def release(self, version: int) -> None:
        self._files.release(version)
        if self._alive.pop(version, None) is not None:
            torch.cuda.ipc_collect()

    def close(self) -> None:
        for version in list(self._alive):
            self.release(version)
        self._files.close()


class NcclSender:
    """Broadcasts over an NCCL group of rank 0 and all workers. Sender and receivers must run at the same time.

    Each version has a separate group: one dead member kills an NCCL communicator, and a restarted engine does not know
    the old one, so the engines that are up meet on a new port.
    """

    def __init__(self, settings: SenderSettings) -> None:
        self._settings = settings
        self._address = settings.address or own_address()
        self._device = own_gpu("nccl")

    def describe(self, specs: Sequence[TensorSpec], version: int, receivers: int = 1) -> WeightManifest:
        settings = self._settings
        return WeightManifest(
            version,
            "nccl",
            tuple(specs),
            "",
            settings.bucket_mib,
            simultaneous=True,
            deadline_s=settings.deadline_s,
            channel=NcclChannel(self._address, _free_port(), receivers, settings.workers_per_receiver),
        )

    def send(self, manifest: WeightManifest, tensors: NamedTensors) -> str:
        return run_with_deadline(
            lambda: self._broadcast(manifest, tensors),
            manifest.deadline_s,
            f"rank 0 waited {manifest.deadline_s:g} s for {manifest.channel} to take version {manifest.version}: "
            "check that every planner engine is alive and reaches this address",
        )

    def _broadcast(self, manifest: WeightManifest, tensors: NamedTensors) -> str:
        from vllm.distributed.weight_transfer.nccl_common import trainer_init
        from vllm.distributed.weight_transfer.packed_tensor import packed_nccl_broadcast_producer

        channel = manifest.channel
        if channel is None:
            raise ValueError("an nccl manifest without a channel")
        device = self._device
        torch.cuda.set_device(device)  # the current device belongs to the thread
        group = trainer_init(
            {"master_address": channel.address, "master_port": channel.port, "world_size": channel.world_size}
        )
        checksum = DeviceChecksum(device)

        def stream() -> Iterator[tuple[str, torch.Tensor]]:
            for spec, tensor in checked(manifest, tensors):
                held = tensor.to(device)
                checksum.add(held)
                yield spec.name, held
            yield CHECKSUM_NAME, checksum.tensor()

        try:
            packed_nccl_broadcast_producer(
                iterator=stream(),
                group=group,
                src=0,
                post_iter_func=lambda item: item[1],
                buffer_size_bytes=manifest.bucket_mib << 20,
            )
            torch.cuda.synchronize(device)
        finally:
            group.destroy()
        return hex_checksum(int(checksum.tensor().item()))

    def release(self, version: int) -> None:
        pass

    def close(self) -> None:
        pass


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def run_with_deadline(work: Callable[[], str], deadline_s: float, message: str) -> str:
    """``work()`` in a separate thread, given up on after ``deadline_s``.

    Raises:
        InfrastructureError: with ``message``, past the deadline. The thread cannot be ended and is left to its call.
    """
    result: list[str] = []
    failure: list[BaseException] = []

    def target() -> None:
        try:
            result.append(work())
        except BaseException as error:  # handed to the waiting thread, which raises it
            failure.append(error)

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    thread.join(deadline_s)
    if failure:
        raise failure[0]
    if not result:
        raise InfrastructureError(COMPONENT, message)
    return result[0]
