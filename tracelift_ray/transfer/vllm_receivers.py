"""What runs inside vLLM's worker processes: the receivers of weights, and the checksum of what arrived.

vLLM imports this module in every worker because ``worker_extension_cls`` names ``WeightUpdates``; importing it
registers the receivers. Weights are loaded only through ``self.model.load_weights``, and what passes there is what the
checksum is taken of. An update that does not end with the sender's checksum raises, and the engine is then not served
from any more.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.distributed.weight_transfer.ipc_engine import IPCWeightTransferEngine, IPCWeightTransferUpdateInfo
from vllm.distributed.weight_transfer.nccl_engine import NCCLWeightTransferEngine, NCCLWeightTransferUpdateInfo

from tracelift_ray.transfer.checksums import CHECKSUM_NAME, DeviceChecksum, hex_checksum
from tracelift_ray.transfer.manifest import TensorSpec, WeightManifest
from tracelift_ray.transfer.shared_memory_reader import SharedMemoryReader
from tracelift_ray.types import InfrastructureError

if TYPE_CHECKING:
    from torch import nn

COMPONENT = "planner engine worker"


def manifest_fields(manifest: WeightManifest) -> dict[str, Any]:
    """The manifest as plain values, which is all that vLLM's control channel carries."""
    return {
        "version": manifest.version,
        "backend": manifest.backend,
        "tensors": [[spec.name, list(spec.shape), spec.dtype] for spec in manifest.tensors],
        "location": manifest.location,
        "bucket_mib": manifest.bucket_mib,
        "simultaneous": manifest.simultaneous,
        "deadline_s": manifest.deadline_s,
    }


@dataclass
class SharedMemoryInitInfo(WeightTransferInitInfo):
    """Shared memory needs no rendezvous."""


@dataclass
class ManifestUpdateInfo(WeightTransferUpdateInfo):
    """The fields of ``manifest_fields``."""

    version: int
    backend: str
    tensors: list[list[Any]]
    location: str
    bucket_mib: int
    simultaneous: bool
    deadline_s: float

    def manifest(self) -> WeightManifest:
        specs = tuple(TensorSpec(name, tuple(shape), dtype) for name, shape, dtype in self.tensors)
        return WeightManifest(
            self.version, self.backend, specs, self.location, self.bucket_mib, self.simultaneous, self.deadline_s
        )


class SharedMemoryWeightTransferEngine(WeightTransferEngine[SharedMemoryInitInfo, ManifestUpdateInfo]):
    """Loads the weights of a file in /dev/shm while the learner is writing it."""

    init_info_cls = SharedMemoryInitInfo
    update_info_cls = ManifestUpdateInfo

    checksum = ""

    def init_transfer_engine(self, init_info: SharedMemoryInitInfo) -> None:
        pass

    def start_weight_update(self) -> None:
        # Layers on CPU repack their weights, so that checkpoint tensors fit only into a layer made raw again.
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        self.receive_weights(self.parse_update_info(update_info))
        if self.device.type != "cpu":  # the base class would synchronize an accelerator that a CPU build lacks
            torch.accelerator.synchronize()

    def receive_weights(self, update_info: ManifestUpdateInfo) -> None:
        reader = SharedMemoryReader(update_info.manifest(), COMPONENT)
        try:
            self.model.load_weights(reader.tensors())  # type: ignore[operator]
            self.checksum = reader.verify()
        finally:
            reader.close()

    def finish_weight_update(self) -> None:
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        finalize_layerwise_reload(self.model, self.model_config)
        update_tied_layers(self.model)

    def shutdown(self) -> None:
        pass


def update_tied_layers(model: nn.Module) -> None:
    """Let layers on CPU that share another layer's weight multiply by its new values.

    The CPU build multiplies by a packed copy of the weight. A layerwise reload packs again only the layers that
    received weights, so a tied output layer would keep the packed copy of the old embedding.
    """
    owners: dict[int, nn.Module] = {}
    for layer in model.modules():
        weight = layer._parameters.get("weight")
        if weight is None or weight.numel() == 0:
            continue
        owner = owners.setdefault(weight.data_ptr(), layer)
        if owner is not layer and hasattr(layer, "cpu_linear"):
            layer.cpu_linear = owner.cpu_linear


class _Tap:
    """Stands for the model while weights come in: takes their checksum, and keeps the sender's from the model."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self._model = model
        self._checksum = DeviceChecksum(device)
        self.sent: int | None = None

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> object:
        real = []
        for name, tensor in weights:
            if name == CHECKSUM_NAME:
                self.sent = int(tensor.item())
            else:
                self._checksum.add(tensor)
                real.append((name, tensor))
        return self._model.load_weights(real)  # type: ignore[operator]

    def verified(self) -> str:
        found = hex_checksum(int(self._checksum.tensor().item()))
        expected = "none" if self.sent is None else hex_checksum(self.sent)
        if found != expected:
            raise InfrastructureError(COMPONENT, f"weights arrived with checksum {found}, sent as {expected}")
        return found


@contextmanager
def tapped(engine: WeightTransferEngine) -> Iterator[_Tap]:
    """Within it, the engine's model is a ``_Tap``."""
    model = engine.model
    tap = _Tap(model, engine.device)
    engine.model = tap  # type: ignore[assignment]
    try:
        yield tap
    finally:
        engine.model = model


class CheckedNcclEngine(NCCLWeightTransferEngine):
    """vLLM's NCCL receiver, checksummed."""

    checksum = ""

    def update_weights(self, update_info: dict[str, Any]) -> None:
        specs = [*update_info["tensors"], [CHECKSUM_NAME, [1], "int64"]]
        names, shapes, dtypes = zip(*specs, strict=True)
        with tapped(self) as tap:
            self.receive_weights(NCCLWeightTransferUpdateInfo(list(names), list(dtypes), list(shapes)))
            self.checksum = tap.verified()
        torch.accelerator.synchronize()


class CheckedIpcEngine(IPCWeightTransferEngine):
    """vLLM's CUDA IPC receiver, checksummed; the handles come from the sender's file for this worker's GPU."""

    checksum = ""

    def update_weights(self, update_info: dict[str, Any]) -> None:
        uuid = str(torch.cuda.get_device_properties(self.device).uuid)
        path = Path(f"{update_info['location']}-{uuid}")
        if not path.exists():
            raise InfrastructureError(
                COMPONENT, f"no learner rank shares GPU {uuid} with this engine ({path} is missing): use nccl"
            )
        handles = pickle.loads(path.read_bytes())  # written by our own learner, mode 0600
        specs = [*update_info["tensors"], [CHECKSUM_NAME, [1], "int64"]]
        names, shapes, dtypes = zip(*specs, strict=True)
        if [name for name, _ in handles] != list(names):
            raise InfrastructureError(COMPONENT, f"{path} does not hold the tensors of the manifest")
        with tapped(self) as tap:
            self.receive_weights(
                IPCWeightTransferUpdateInfo(
                    names=list(names),
                    dtype_names=list(dtypes),
                    shapes=list(shapes),
                    ipc_handles=[{uuid: arguments} for _, arguments in handles],
                )
            )
            self.checksum = tap.verified()
        torch.accelerator.synchronize()


class WeightUpdates:
    """Mixed into vLLM's worker class; its methods are called through ``collective_rpc``."""

    weight_transfer_engine: Any

    def received_checksum(self) -> str:
        """Checksum of the weights that this worker loaded last."""
        return self.weight_transfer_engine.checksum


def _no_rendezvous(manifest: WeightManifest) -> dict[str, Any] | None:
    return None


def _unpacked(manifest: WeightManifest) -> dict[str, Any]:
    return {"packed": False}


def nccl_group(manifest: WeightManifest) -> dict[str, Any]:
    """vLLM's init info for joining the manifest's channel as its receiver."""
    channel = manifest.channel
    if channel is None:
        raise ValueError("an nccl manifest without a channel")
    return {
        "master_address": channel.address,
        "master_port": channel.port,
        "rank_offset": 1 + manifest.receiver * channel.workers_per_receiver,
        "world_size": channel.world_size,
        "packed": True,
        "packed_buffer_size_bytes": manifest.bucket_mib << 20,
    }


@dataclass(frozen=True)
class Receiver:
    """How vLLM receives weights by one transfer.

    Attributes:
        name: under which vLLM knows ``engine``.
        engine: what runs in vLLM's workers.
        init: the fields with which a version is prepared; None: nothing to prepare.
        leaves: whether the engine leaves the sender's group after each version.
    """

    name: str
    engine: type[WeightTransferEngine]
    init: Callable[[WeightManifest], dict[str, Any] | None]
    leaves: bool = False


#: By name of the transfer.
RECEIVERS: dict[str, Receiver] = {
    "shared_memory": Receiver("tracelift_shared_memory", SharedMemoryWeightTransferEngine, _no_rendezvous),
    "nccl": Receiver("tracelift_nccl", CheckedNcclEngine, nccl_group, leaves=True),
    "ipc": Receiver("tracelift_ipc", CheckedIpcEngine, _unpacked),
}


def register() -> None:
    """Make the receivers known to vLLM in this process; does nothing the second time."""
    for receiver in RECEIVERS.values():
        if receiver.name not in WeightTransferEngineFactory._registry:
            WeightTransferEngineFactory.register_engine(receiver.name, receiver.engine)


register()
