"""The table of weight transfers: what each needs, and the factory of senders. Light to import.

The receiving ends are ``shared_memory_reader`` and, inside vLLM's workers, ``vllm_receivers``. An engine declares by
which transfers it can take weights (``engines.base.EngineKind.transfers``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracelift_ray.transfer.senders import SenderSettings, WeightSender


@dataclass(frozen=True)
class Transfer:
    """What a weight transfer needs.

    Attributes:
        sender: makes the sender of one learner rank. Imports what it needs when it is called.
        gpus: learner and planner engines both have GPUs.
        one_machine: rank 0 of the learner and all planner engines are on one machine.
        shared_gpus: each planner engine has its GPUs in common with learner ranks.
        collective: goes over the kind of collective that the learner's ranks use.
        every_rank: every learner rank sends, not rank 0 alone.
        keeps: the memory that a version was sent in stays with rank 0 of the learner for the next one.
        deltas: can carry what changed in the place of whole versions.
        arrives_by: the transfer by which an engine takes the weights in the end; empty: by this one.
    """

    sender: Callable[[SenderSettings], WeightSender]
    gpus: bool = False
    one_machine: bool = False
    shared_gpus: bool = False
    collective: bool = False
    every_rank: bool = False
    keeps: bool = False
    deltas: bool = False
    arrives_by: str = ""


def _shared_memory(settings: SenderSettings) -> WeightSender:
    from tracelift_ray.transfer.shared_memory_sender import SharedMemorySender

    return SharedMemorySender(settings)


def _collective(settings: SenderSettings) -> WeightSender:
    from tracelift_ray.transfer.collective_sender import CollectiveSender

    return CollectiveSender(settings)


def _object_store(settings: SenderSettings) -> WeightSender:
    from tracelift_ray.transfer.object_store import ObjectStoreSender

    return ObjectStoreSender(settings)


def _ipc(settings: SenderSettings) -> WeightSender:
    from tracelift_ray.transfer.ipc_sender import IpcSender

    return IpcSender(settings)


TRANSFERS: dict[str, Transfer] = {
    "shared_memory": Transfer(_shared_memory, one_machine=True, keeps=True, deltas=True),
    "collective": Transfer(_collective, collective=True, deltas=True),
    "object_store": Transfer(_object_store, deltas=True, arrives_by="shared_memory"),
    "ipc": Transfer(_ipc, gpus=True, shared_gpus=True, every_rank=True),
}


def at_engine(transfer: str) -> str:
    """By which transfer an engine takes what the learner sends by ``transfer``."""
    return TRANSFERS[transfer].arrives_by or transfer


def build_weight_sender(transfer: str, settings: SenderSettings) -> WeightSender:
    """The sender of one learner rank.

    Raises:
        ValueError: no transfer of that name, or this process lacks what it needs.
    """
    from tracelift_ray.transfer.senders import SilentSender

    if transfer not in TRANSFERS:
        raise ValueError(f"unknown weight transfer {transfer!r}: use one of {', '.join(TRANSFERS)}")
    kind = TRANSFERS[transfer]
    if settings.rank and not kind.every_rank:
        return SilentSender()
    if settings.delta:
        from tracelift_ray.transfer.delta_sender import DeltaSender

        return DeltaSender(kind.sender(settings))
    return kind.sender(settings)
