"""Weights over gloo on this machine: what arrives, what a mismatch says, what a lost member costs."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tests.hang import HANG_S
from tracelift_ray.training.ranks import free_port
from tracelift_ray.transfer.collective import (
    Channel,
    Communicator,
    Receiver,
    as_bytes,
    joined,
    plan_buckets,
    send,
)
from tracelift_ray.transfer.manifest import TensorSpec
from tracelift_ray.types import InfrastructureError

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


def opened(size: int, timeout_s: float = 60.0, key: str = "0") -> list[Communicator]:
    channel = Channel("127.0.0.1", free_port(), size, "gloo", key)
    with ThreadPoolExecutor(size) as threads:
        return list(threads.map(lambda rank: Communicator(channel, rank, timeout_s, CPU), range(size)))


def taken(communicator: Communicator, weights: list[tuple[str, torch.Tensor]]) -> tuple[dict[str, torch.Tensor], str]:
    receiver = Receiver(communicator, specs(weights), BUCKET)
    return dict(receiver.tensors()), joined(receiver.verify())


def test_every_version_arrives_whole_at_every_member_over_one_channel() -> None:
    sender, *receivers = opened(3)
    with ThreadPoolExecutor(3) as threads:
        for version in range(3):
            weights = tensors(version)
            sending = threads.submit(send, sender, specs(weights), iter(weights), BUCKET)
            arrived = [threads.submit(taken, receiver, weights) for receiver in receivers]
            for future in arrived:
                found, checksum = future.result()
                assert checksum == joined(sending.result())
                assert list(found) == [name for name, _ in weights]
                assert all(torch.equal(found[name], tensor) for name, tensor in weights)


def test_a_tensor_that_arrives_otherwise_is_named() -> None:
    sender, receiver = opened(2)
    weights = tensors()

    class Liar(Receiver):
        def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
            yield from super().tensors()
            self._digests[1] += 1

    with ThreadPoolExecutor(1) as threads:
        sending = threads.submit(send, sender, specs(weights), iter(weights), BUCKET)
        taking = Liar(receiver, specs(weights), BUCKET)
        dict(taking.tensors())
        with pytest.raises(InfrastructureError, match="1 tensors arrived with another checksum: norm"):
            taking.verify()
        sending.result()


def test_a_member_that_dies_in_the_middle_ends_the_transfer_for_all() -> None:
    """At once, and with an error: the sender then opens a channel with those that live."""
    channel = Channel("127.0.0.1", free_port(), 3, "gloo", "0")
    code = (
        "import os, torch\n"
        "from tracelift_ray.transfer.collective import Channel, Communicator\n"
        f"Communicator(Channel('127.0.0.1', {channel.port}, 3, 'gloo', '0'), 2, 60.0, torch.device('cpu'))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    weights = [("big", torch.zeros(4_000_000))]
    dying = subprocess.Popen([sys.executable, "-c", code])
    with ThreadPoolExecutor(2) as threads:
        sender, receiver = threads.map(lambda rank: Communicator(channel, rank, 60.0, CPU), range(2))
        dying.wait(HANG_S)
        sending = threads.submit(send, sender, specs(weights), iter(weights), BUCKET)
        taking = threads.submit(taken, receiver, weights)
        failures = [future.exception(HANG_S) for future in (sending, taking)]
    assert all(isinstance(failure, InfrastructureError) for failure in failures), failures


def test_a_sender_that_waits_in_vain_is_ended_from_another_thread() -> None:
    sender, _receiver = opened(2)
    weights = [("big", torch.zeros(4_000_000))]
    timer = threading.Timer(0.3, sender.close)
    timer.start()
    with pytest.raises(InfrastructureError, match="the channel"):
        send(sender, specs(weights), iter(weights), BUCKET)


def test_members_that_do_not_come_are_an_error_with_the_place() -> None:
    channel = Channel("127.0.0.1", free_port(), 2, "gloo", "0")
    with pytest.raises(InfrastructureError, match=f"no channel at 127.0.0.1:{channel.port}"):
        Communicator(channel, 0, 0.5, CPU)


def test_buckets_hold_every_byte_once_in_order_and_no_more_than_fits() -> None:
    sizes = [1, 64, 65, 5000, 0, 4096, 12_345]
    plan = plan_buckets(sizes, BUCKET)
    at = [0] * len(sizes)
    for pieces in plan:
        for piece in pieces:
            assert piece.start == at[piece.tensor] < piece.end and piece.offset % 64 == 0
            assert piece.offset + piece.end - piece.start <= BUCKET
            at[piece.tensor] = piece.end
    assert at == sizes
    assert plan_buckets([], BUCKET) == []


def test_the_bytes_of_a_tensor_are_its_own() -> None:
    assert as_bytes(torch.tensor([1, 2], dtype=torch.int16)).tolist() == [1, 0, 2, 0]
