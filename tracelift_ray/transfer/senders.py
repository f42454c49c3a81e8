"""What every weight sender has: its interface, its settings, and the check of what it sends.

Every rank of the learner calls ``send`` with its own iterator, because under ZeRO-3 producing a tensor is a collective;
only the ranks that a transfer needs send anything. Nothing of a version stays behind in /dev/shm
after ``release`` or ``close``.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tracelift_ray.errors import InfrastructureError
from tracelift_ray.transfer.manifest import Sent, TensorSpec, WeightManifest

if TYPE_CHECKING:
    import torch

NamedTensors = Iterable[tuple[str, "torch.Tensor"]]
COMPONENT = "weight sender"


class WeightSender(Protocol):
    """Sends one version after the other to all receivers."""

    def describe(self, specs: Sequence[TensorSpec], version: int, receivers: Sequence[str] = ()) -> WeightManifest:
        """The manifest for the receivers. On rank 0; the other ranks get its result.

        Args:
            specs: the tensors in the order in which ``send`` will get them.
            receivers: names of the engines that will receive this version.
        """
        ...

    def send(self, manifest: WeightManifest, tensors: NamedTensors) -> Sent:
        """Send one version.

        The memory of a tensor that the iterator yields must not be written to again before ``release``.

        Raises:
            InfrastructureError: no space, or past the deadline.
            TransferBroken: a receiver was lost, or ``abort``.
            ValueError: the tensors are not those that were described.
        """
        ...

    def release(self, version: int) -> None:
        """All receivers have the version: free what was held for it."""
        ...

    def abort(self) -> None:
        """End a ``send`` that waits for receivers, from any thread; it raises ``TransferBroken``."""
        ...

    def close(self) -> None:
        """Release every version and leave the channel."""
        ...


@dataclass(frozen=True)
class SenderSettings:
    """What a sender is built with.

    Attributes:
        run_name: names the sender's files.
        bucket_mib: size of a packed buffer.
        deadline_s: for sending one version, and for each receiver.
        workers_per_receiver: tensor-parallel size of each engine.
        address: where engines reach rank 0 of the learner.
        backend: of a collective: ``gloo`` between CPUs, ``nccl`` between GPUs.
        rank: of the learner.
        put: puts a buffer into an object store and returns its reference; where there is such a store.
        delta: versions go out as what changed since the one before, where that is possible.
    """

    run_name: str
    bucket_mib: int
    deadline_s: float
    workers_per_receiver: int = 1
    address: str = ""
    backend: str = "gloo"
    rank: int = 0
    put: Callable[[Any], Any] | None = None
    delta: bool = False


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


def named(tensors: Iterable[tuple[TensorSpec, torch.Tensor]]) -> Iterator[tuple[str, torch.Tensor]]:
    """Checked tensors by their names."""
    return ((spec.name, tensor) for spec, tensor in tensors)


class SilentSender:
    """A rank that sends nothing, but takes part in producing the tensors."""

    def describe(self, specs: Sequence[TensorSpec], version: int, receivers: Sequence[str] = ()) -> WeightManifest:
        raise RuntimeError("only rank 0 describes the weights that are sent")

    def send(self, manifest: WeightManifest, tensors: NamedTensors) -> Sent:
        for _ in tensors:
            pass
        return Sent("")

    def release(self, version: int) -> None:
        pass

    def abort(self) -> None:
        pass

    def close(self) -> None:
        pass
