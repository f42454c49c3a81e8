"""What runs inside vLLM's worker processes: the receivers of weights, and the checksum of what arrived.

vLLM imports this module in every worker because ``worker_extension_cls`` names ``WeightUpdates``; importing it
registers the receivers. Weights are loaded only through ``self.model.load_weights``, and what passes there is what the
checksum is taken of. An update that does not end with the sender's checksum raises, and the engine is then not served
from any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

from tracelift_ray.errors import TransferBroken
from tracelift_ray.transfer.buckets import Receiver, joined
from tracelift_ray.transfer.collective import Communicator, join_channel, receiver
from tracelift_ray.transfer.delta import Keeping
from tracelift_ray.transfer.ipc import Taken, memory_of
from tracelift_ray.transfer.manifest import WeightManifest
from tracelift_ray.transfer.shared_memory_reader import SharedMemoryReader
from tracelift_ray.transfer.vllm_adapters import begin_adapter, take_adapter
from tracelift_ray.transfer.vllm_delta import Preparation
from tracelift_ray.transfer.vllm_experts import check_experts, close_experts, open_experts
from tracelift_ray.transfer.vllm_in_place import InPlace

COMPONENT = "planner engine worker"


@dataclass
class NoInitInfo(WeightTransferInitInfo):
    """Our transfers need no preparation: a manifest says all."""


@dataclass
class ManifestUpdateInfo(WeightTransferUpdateInfo):
    """A manifest's fields, and the number of the worker that takes it."""

    manifest: dict[str, Any]
    worker: int


class LayerwiseEngine(WeightTransferEngine[NoInitInfo, ManifestUpdateInfo]):
    """Loads weights layer by layer as they come in; subclasses have them come in."""

    init_info_cls = NoInitInfo
    update_info_cls = ManifestUpdateInfo

    checksum = ""
    in_place: InPlace | None = None

    @cached_property
    def keeping(self) -> Keeping:
        """The copy of the version that is served, where changes of it will come."""
        return Keeping(COMPONENT)

    def init_transfer_engine(self, init_info: NoInitInfo) -> None:
        pass

    def start_weight_update(self) -> None:
        # Layers on CPU repack their weights, so that checkpoint tensors fit only into a layer made raw again.
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        forget_half_loaded_layers(self.model)
        initialize_layerwise_reload(self.model)
        if self.device.type == "cpu":
            open_experts(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        info = self.parse_update_info(update_info)
        self.receive_weights(info)
        manifest = WeightManifest.of(info.manifest)
        if manifest.kept and manifest.change is None:
            self.checksum = self.keeping.checked(manifest)
        if self.device.type != "cpu":  # the base class would synchronize an accelerator that a CPU build lacks
            torch.accelerator.synchronize()

    def load(self, tensors: Iterator[tuple[str, torch.Tensor]], manifest: WeightManifest) -> None:
        """Have the model, or what stands for it, take in ``tensors``, which arrive as ``manifest`` says."""
        if manifest.kept and manifest.change is None:
            tensors = self.keeping.whole(manifest, tensors)
        self.put_in(tensors, (manifest.tensors, manifest.bucket_mib))

    def put_in(self, tensors: Iterable[tuple[str, torch.Tensor]], layout: Any) -> None:
        """Load ``tensors``; those of one ``layout`` always lie the same way."""
        if self.device.type == "cpu" and isinstance(self.model, nn.Module):
            if self.in_place is None or self.in_place.layout != layout:
                self.in_place = InPlace(layout)
            self.in_place.load(self.model, iter(tensors))
        else:
            self.model.load_weights(tensors)  # type: ignore[operator]

    def finish_weight_update(self) -> None:
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        (close_experts if self.device.type == "cpu" else check_experts)(self.model)
        finalize_layerwise_reload(self.model, self.model_config)
        update_tied_layers(self.model)

    def shutdown(self) -> None:
        pass


class SharedMemoryEngine(LayerwiseEngine):
    """Loads the weights of a file in /dev/shm while the learner is writing it."""

    def receive_weights(self, update_info: ManifestUpdateInfo) -> None:
        manifest = WeightManifest.of(update_info.manifest)
        reader = SharedMemoryReader(manifest, COMPONENT)
        try:
            self.load(reader.tensors(), manifest)
            self.checksum = reader.verify()
        finally:
            reader.close()


class CollectiveEngine(LayerwiseEngine):
    """Loads the buckets of a broadcast while the next one travels; stays in the channel for the next version."""

    member: Communicator | None = None

    def receive_weights(self, update_info: ManifestUpdateInfo) -> None:
        manifest = WeightManifest.of(update_info.manifest)
        self.member = join_channel(manifest, update_info.worker, self.member)
        taking = receiver(manifest, self.member)
        self.load(taking.tensors(), manifest)
        self.checksum = joined(taking.verify())

    def shutdown(self) -> None:
        if self.member is not None:
            self.member.close()
            self.member = None


class IpcEngine(LayerwiseEngine):
    """Loads the buckets that a learner rank offers in the memory of this worker's GPU."""

    def receive_weights(self, update_info: ManifestUpdateInfo) -> None:
        manifest, memory = WeightManifest.of(update_info.manifest), memory_of(self.device)
        path = Path(f"{manifest.location}-{memory.key}")
        bucket_bytes = manifest.bucket_mib << 20
        taken = Taken(path, memory, bucket_bytes, len(manifest.tensors), manifest.deadline_s)
        try:
            taking = Receiver(taken, manifest.tensors, bucket_bytes)
            self.load(taking.tensors(), manifest)
            self.checksum = joined(taking.verify())
        finally:
            taken.close()


def forget_half_loaded_layers(model: nn.Module) -> None:
    """Let layers that a broken transfer left half loaded take all of their weights again."""
    from vllm.model_executor.model_loader.reload.layerwise import get_layerwise_info

    for layer in model.modules():
        info = get_layerwise_info(layer)
        info.loaded_weights.clear()
        info.load_numel = 0


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


class WeightUpdates:
    """Mixed into vLLM's worker class; its methods are called through ``collective_rpc``."""

    rank: int
    model_runner: Any
    weight_transfer_engine: Any
    start_weight_update: Callable[[], None]
    update_weights: Callable[[dict[str, Any]], None]
    preparation: Preparation

    def begin_adapter(self) -> None:
        """Serve an adapter that changes nothing, until the first one comes."""
        begin_adapter(self.model_runner.lora_manager)

    def prepare_change(self, manifest: dict[str, Any]) -> None:
        """Start to make a change ready in the copy of the weights; to be called before ``take_weights``."""
        self.preparation = Preparation(self.weight_transfer_engine, WeightManifest.of(manifest), self.rank)

    def change_ready(self) -> tuple[bool, str]:
        """As ``Preparation.ready``."""
        return self.preparation.ready()

    def take_weights(self, manifest: dict[str, Any]) -> tuple[str, str]:
        """Load a version; finishing it, where it is all weights, is another call, made when every worker has it.

        Returns:
            The checksum of what arrived, and an empty string; or an empty checksum and why the transfer broke. It is
            then sent again. A worker's exception would leave the answers of the others behind, unread.
        """
        update = {"manifest": manifest, "worker": self.rank}
        try:
            if manifest["adapter"] is not None:
                take_adapter(self, update)
            elif manifest["change"] is not None:  # it is in the copy already
                self.start_weight_update()
                copy = self.weight_transfer_engine.keeping.copy
                self.weight_transfer_engine.put_in(copy.tensors(), (copy.specs, manifest["bucket_mib"]))
                return manifest["change"]["checksum"], ""
            else:
                self.start_weight_update()
                self.update_weights(update)
        except TransferBroken as error:
            return "", error.cause
        return self.weight_transfer_engine.checksum, ""


#: By name of the transfer.
RECEIVERS: dict[str, type[WeightTransferEngine]] = {
    "shared_memory": SharedMemoryEngine,
    "collective": CollectiveEngine,
    "ipc": IpcEngine,
}


def backend(transfer: str) -> str:
    """The name under which vLLM knows the receiver of a transfer; it has others called ``ipc`` and so on itself."""
    return f"tracelift_{transfer}"


def register() -> None:
    """Make the receivers known to vLLM in this process; does nothing the second time."""
    for transfer, engine in RECEIVERS.items():
        if backend(transfer) not in WeightTransferEngineFactory._registry:
            WeightTransferEngineFactory.register_engine(backend(transfer), engine)


register()
