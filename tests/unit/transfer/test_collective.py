"""Weights over gloo on this machine: what arrives, what a mismatch says, what a lost member costs."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tests.hang import HANG_S
from tracelift_ray.errors import InfrastructureError, TransferBroken
from tracelift_ray.training.ranks import free_port
from tracelift_ray.transfer import buckets
from tracelift_ray.transfer.buckets import Receiver, joined
from tracelift_ray.transfer.collective import Broadcasts, Communicator, join_channel, open_store, receiver
from tracelift_ray.transfer.collective_sender import CollectiveSender
from tracelift_ray.transfer.manifest import Channel, TensorSpec, WeightManifest
from tracelift_ray.transfer.senders import SenderSettings

CPU = torch.device("cpu")
BUCKET = 4096


def tensors(seed: int = 0) -> list[tuple[str, torch.Tensor]]:
    """Of several types and sizes, one of them larger than a bucket."""
    torch.manual_seed(seed)
    return [
        ("embed", torch.randn(50, 64)),
        ("norm", torch.randn(7).to(torch.bfloat16)),
        ("scale", torch.tensor(3.5)),
        ("ids", torch.arange(300)),
    ]


def specs(weights: list[tuple[str, torch.Tensor]]) -> list[TensorSpec]:
    return [TensorSpec(name, tuple(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in weights]


class Members:
    """The sender and its channels on this machine."""

    def __init__(self) -> None:
        self.store = open_store("127.0.0.1", 0, HANG_S, serves=True)

    def channel(self, receivers: int, key: str = "0") -> Channel:
        return Channel("127.0.0.1", self.store.port, "gloo", key, tuple(f"{index}.0" for index in range(receivers)))

    def member(self, channel: Channel, rank: int, timeout_s: float = HANG_S) -> Communicator:
        served = open_store("127.0.0.1", self.store.port, HANG_S, serves=False) if rank else self.store
        communicator = Communicator(served, channel, rank, timeout_s, CPU)
        communicator.open()
        return communicator


def send(sender: Communicator, weights: list[tuple[str, torch.Tensor]]) -> torch.Tensor:
    return buckets.send(Broadcasts(sender, BUCKET), specs(weights), iter(weights), BUCKET)


def opened(size: int) -> list[Communicator]:
    members = Members()
    channel = members.channel(size - 1)
    with ThreadPoolExecutor(size) as threads:
        return list(threads.map(lambda rank: members.member(channel, rank), range(size)))


def taken(communicator: Communicator, weights: list[tuple[str, torch.Tensor]]) -> tuple[dict[str, torch.Tensor], str]:
    taking = Receiver(Broadcasts(communicator, BUCKET), specs(weights), BUCKET)
    return dict(taking.tensors()), joined(taking.verify())


def test_every_version_arrives_whole_at_every_member_over_one_channel() -> None:
    sender, *receivers = opened(3)
    with ThreadPoolExecutor(3) as threads:
        for version in range(3):
            weights = tensors(version)
            sending = threads.submit(send, sender, weights)
            arrived = [threads.submit(taken, receiver, weights) for receiver in receivers]
            for future in arrived:
                found, checksum = future.result()
                assert checksum == joined(sending.result())
                assert list(found) == [name for name, _ in weights]
                assert all(torch.equal(found[name], tensor) for name, tensor in weights)


def test_a_tensor_that_arrives_otherwise_is_named() -> None:
    sender, member = opened(2)
    weights = tensors()

    class Liar(Receiver):
        def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
            yield from super().tensors()
            self._digests[1] += 1

    with ThreadPoolExecutor(1) as threads:
        sending = threads.submit(send, sender, weights)
        taking = Liar(Broadcasts(member, BUCKET), specs(weights), BUCKET)
        dict(taking.tensors())
        with pytest.raises(InfrastructureError, match="1 tensors arrived with another checksum: norm"):
            taking.verify()
        sending.result()


def test_a_member_that_dies_in_the_middle_ends_the_transfer_for_all() -> None:
    """With an error: the sender then opens a channel with those that live."""
    members = Members()
    channel = members.channel(2)
    code = (
        "import os, torch\n"
        "from tracelift_ray.transfer.collective import Communicator, open_store\n"
        "from tracelift_ray.transfer.manifest import Channel\n"
        f"store = open_store('127.0.0.1', {members.store.port}, 60.0, serves=False)\n"
        f"Communicator(store, {channel!r}, 2, 60.0, torch.device('cpu')).open()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    weights = [("big", torch.zeros(4_000_000))]
    dying = subprocess.Popen([sys.executable, "-c", code])
    with ThreadPoolExecutor(2) as threads:
        sender, receiver = threads.map(lambda rank: members.member(channel, rank), range(2))
        dying.wait(HANG_S)
        sending = threads.submit(send, sender, weights)
        taking = threads.submit(taken, receiver, weights)
        failures = [future.exception(HANG_S) for future in (sending, taking)]
    assert all(isinstance(failure, TransferBroken) for failure in failures), failures


def test_a_sender_that_waits_in_vain_is_ended_from_another_thread_and_so_are_those_that_receive() -> None:
    sender, waiting, _absent = opened(3)
    weights = [("big", torch.zeros(4_000_000))]
    timer = threading.Timer(0.3, sender.close)
    timer.start()
    with ThreadPoolExecutor(1) as threads:
        taking = threads.submit(taken, waiting, weights)
        with pytest.raises(TransferBroken, match="broke: it was closed"):
            send(sender, weights)
        assert isinstance(taking.exception(HANG_S), TransferBroken)


def test_a_member_on_its_way_to_a_channel_that_is_given_up_waits_no_longer() -> None:
    members = Members()
    channel = members.channel(2)
    sender = Communicator(members.store, channel, 0, HANG_S, CPU)
    with ThreadPoolExecutor(1) as threads:
        coming = threads.submit(members.member, channel, 1)
        sender.close()
        with pytest.raises(TransferBroken, match="the sender gave it up"):
            coming.result(HANG_S)


def test_members_that_do_not_come_are_an_error_with_the_place() -> None:
    members = Members()
    with pytest.raises(TransferBroken, match=rf"gloo channel at 127.0.0.1:{members.store.port} broke: nothing came"):
        members.member(members.channel(1), 0, timeout_s=0.2)


def test_a_place_where_nobody_serves_is_named() -> None:
    port = free_port()
    with pytest.raises(TransferBroken, match=f"no channel at 127.0.0.1:{port}"):
        open_store("127.0.0.1", port, 0.5, serves=False)


@pytest.fixture
def sender() -> Iterator[CollectiveSender]:
    built = CollectiveSender(SenderSettings("test", 1, HANG_S, address="127.0.0.1"))
    yield built
    built.close()


def test_a_channel_is_kept_from_version_to_version_and_opened_again_for_other_engines(sender: CollectiveSender) -> None:
    """Or after it was given up."""
    described = [sender.describe(specs(tensors()), version, ("0.0", "1.0")).channel for version in (1, 2)]
    assert described[0] == described[1]
    other = sender.describe(specs(tensors()), 3, ("0.0", "1.1")).channel
    assert other is not None and described[0] is not None and other.key != described[0].key
    sender.abort()
    again = sender.describe(specs(tensors()), 3, ("0.0", "1.1")).channel
    assert again is not None and again.key != other.key and again.receivers == other.receivers


def test_the_sender_serves_engines_that_are_known_by_name_and_worker(sender: CollectiveSender) -> None:
    weights = tensors()
    manifest = sender.describe(specs(weights), 4, ("0.0", "1.0"))

    def take(name: str) -> tuple[dict[str, torch.Tensor], str]:
        mine = WeightManifest.of(json.loads(json.dumps(manifest.for_receiver(name).fields())))
        taking = receiver(mine, join_channel(mine, 0, None))
        return dict(taking.tensors()), joined(taking.verify())

    with ThreadPoolExecutor(2) as threads:
        taking = [threads.submit(take, name) for name in ("1.0", "0.0")]
        checksum = sender.send(manifest, iter(weights)).checksum
        for future in taking:
            found, own = future.result(HANG_S)
            assert own == checksum and all(torch.equal(found[name], tensor) for name, tensor in weights)


def test_nccl_says_that_it_needs_a_gpu() -> None:
    if torch.cuda.is_available():
        pytest.skip("is about machines without a GPU")
    with pytest.raises(ValueError, match="nccl need a GPU"):
        CollectiveSender(SenderSettings("test", 1, 1.0, address="127.0.0.1", backend="nccl")).describe((), 0, ("0.0",))
