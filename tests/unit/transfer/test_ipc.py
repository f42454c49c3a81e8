"""Buckets through memory that two sides share. The machine's memory stands in for a GPU's; the rest is the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from tests.hang import HANG_S
from tests.unit.transfer.test_collective import specs, tensors
from tracelift_ray.errors import InfrastructureError, TransferBroken
from tracelift_ray.transfer.buckets import Receiver, joined
from tracelift_ray.transfer.ipc import HostMemory, Taken
from tracelift_ray.transfer.ipc_sender import IpcSender
from tracelift_ray.transfer.manifest import WeightManifest
from tracelift_ray.transfer.senders import SenderSettings

#: Five buckets of 1 MiB, so that the sender has to wait for the receiver.
WEIGHTS = [*tensors(), ("big", torch.arange(1_200_000, dtype=torch.float32))]


@pytest.fixture
def sender() -> Iterator[IpcSender]:
    built = IpcSender(SenderSettings("ipc test", 1, HANG_S), HostMemory())
    yield built
    built.close()
    assert not list(Path("/dev/shm").glob("tracelift-ipc_test-*"))


def described(sender: IpcSender, version: int = 1, receivers: tuple[str, ...] = ("0.0",)) -> WeightManifest:
    return sender.describe(specs(WEIGHTS), version, receivers)


def taken(manifest: WeightManifest, deadline_s: float = HANG_S) -> tuple[dict[str, torch.Tensor], str]:
    memory, bucket_bytes = HostMemory(), manifest.bucket_mib << 20
    path = Path(f"{manifest.location}-{memory.key}")
    incoming = Taken(path, memory, bucket_bytes, len(manifest.tensors), deadline_s)
    try:
        receiver = Receiver(incoming, manifest.tensors, bucket_bytes)
        return dict(receiver.tensors()), joined(receiver.verify())
    finally:
        incoming.close()


def test_every_version_arrives_whole_through_two_buffers_and_leaves_nothing_behind(sender: IpcSender) -> None:
    with ThreadPoolExecutor(1) as other:
        for version in (1, 2):
            manifest = described(sender, version)
            taking = other.submit(taken, manifest)
            sent = sender.send(manifest, iter(WEIGHTS))
            found, checksum = taking.result(HANG_S)
            buffers = list(Path("/dev/shm").glob("tracelift-ipc_test-*-buffer*"))
            assert [path.stat().st_size for path in buffers] == [1 << 20] * 2
            sender.release(version)
            assert checksum == sent.checksum
            assert all(torch.equal(found[name], tensor) for name, tensor in WEIGHTS)
            assert not list(Path("/dev/shm").glob("tracelift-ipc_test-*"))


def test_a_rank_whose_engine_is_not_up_says_the_same_checksum_and_waits_for_nobody() -> None:
    """Engines of two workers: ranks 2 and 3 send to engine 1."""
    settings = (SenderSettings("ipc test", 1, HANG_S, workers_per_receiver=2, rank=rank) for rank in (2, 3))
    checksums = set()
    for each in settings:
        rank = IpcSender(each, HostMemory())
        checksums.add(rank.send(described(rank, receivers=("0.0", "10.0")), iter(WEIGHTS)).checksum)
        manifest = described(rank, receivers=("0.0", "1.3"))
        with ThreadPoolExecutor(1) as other:
            taking = other.submit(taken, manifest)
            checksums.add(rank.send(manifest, iter(WEIGHTS)).checksum)
            checksums.add(taking.result(HANG_S)[1])
        rank.close()
    assert len(checksums) == 1 and "" not in checksums


def test_a_sender_that_fails_is_noticed_by_the_receiver(sender: IpcSender) -> None:
    with ThreadPoolExecutor(1) as other:
        taking = other.submit(taken, manifest := described(sender))
        with pytest.raises(ValueError, match="was described but not sent"):
            sender.send(manifest, iter(WEIGHTS[:-1]))
        with pytest.raises(TransferBroken, match="broke: the sender gave it up"):
            taking.result(HANG_S)


def test_a_sender_that_waits_for_a_lost_receiver_is_ended_from_another_thread(sender: IpcSender) -> None:
    manifest = described(sender)
    timer = threading.Timer(0.2, sender.abort)
    timer.start()
    with pytest.raises(TransferBroken, match="broke: it was closed"):
        sender.send(manifest, iter(WEIGHTS))


def test_a_transfer_that_was_given_up_before_it_began_ends_the_receiver_too_and_the_next_one_is_whole(
    sender: IpcSender,
) -> None:
    sender.abort()
    with ThreadPoolExecutor(1) as other:
        taking = other.submit(taken, manifest := described(sender))
        with pytest.raises(TransferBroken, match="given up before it began"):
            sender.send(manifest, iter(WEIGHTS))
        with pytest.raises(TransferBroken):
            taking.result(HANG_S)
        sender.release(1)
        taking = other.submit(taken, manifest := described(sender))
        assert sender.send(manifest, iter(WEIGHTS)).checksum == taking.result(HANG_S)[1]


def test_an_engine_with_no_learner_on_its_memory_says_so(sender: IpcSender) -> None:
    with pytest.raises(InfrastructureError, match=r"no learner rank that shares host .* in 0\.05 s .*use collective"):
        taken(described(sender), deadline_s=0.05)
