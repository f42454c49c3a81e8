"""Weights through an object store that is a dictionary: put once, checked, and read by an engine as shared memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.transfer.test_collective import specs, tensors
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.transfer.kinds import at_engine, build_weight_sender
from tracelift_ray.transfer.manifest import WeightManifest, WeightReceipt
from tracelift_ray.transfer.object_store import ObjectStoreSender, Relay
from tracelift_ray.transfer.senders import SenderSettings
from tracelift_ray.transfer.shared_memory_reader import SharedMemoryReader

#: More than a bucket of 1 MiB.
BIG = ("big", torch.arange(300_000, dtype=torch.float32))


class Store:
    """A store whose memory is read-only, as Ray's is."""

    def __init__(self) -> None:
        self.held: list[np.ndarray] = []

    def put(self, value: np.ndarray) -> int:
        self.held.append(value.copy())
        self.held[-1].flags.writeable = False
        return len(self.held) - 1

    def get(self, reference: int) -> np.ndarray:
        return self.held[reference]


class Engine:
    """Takes weights from shared memory."""

    def __init__(self) -> None:
        self.served: dict[str, torch.Tensor] = {}

    async def receive_weights(self, manifest: WeightManifest) -> WeightReceipt:
        def read() -> str:
            reader = SharedMemoryReader(manifest, "test")
            try:
                self.served = {name: tensor.clone() for name, tensor in reader.tensors()}
                return reader.verify()
            finally:
                reader.close()

        checksum = await asyncio.to_thread(read)
        return WeightReceipt(manifest.version, checksum, (checksum,))


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def sender(store: Store) -> Iterator[ObjectStoreSender]:
    built = build_weight_sender("object_store", SenderSettings("test", 1, 30.0, put=store.put))
    assert isinstance(built, ObjectStoreSender)
    yield built
    built.close()


def sent(sender: ObjectStoreSender, version: int = 3) -> tuple[WeightManifest, str]:
    """The manifest as an engine of another node gets it, and the checksum."""
    weights = [*tensors(), BIG]
    manifest = sender.describe(specs(weights), version, ("0.0",))
    done = sender.send(manifest, iter(weights))
    fields = json.loads(json.dumps(manifest.with_parts(done.parts).for_receiver("0.0").fields()))
    return WeightManifest.of(fields), done.checksum


async def test_an_engine_serves_what_was_put_under_the_senders_checksum(sender: Any, store: Store) -> None:
    manifest, checksum = sent(sender)
    assert len(store.held) == 4, "small tensors, two slices of a large one, and the digests"
    engine = Engine()
    receipt = await Relay(store.get).deliver(manifest, engine.receive_weights)
    assert (receipt.version, receipt.checksum) == (3, checksum)
    assert all(torch.equal(engine.served[name], tensor) for name, tensor in [*tensors(), BIG])
    assert not list(Path("/dev/shm").glob("tracelift-relay-*"))


async def test_a_changed_bucket_is_refused_by_the_name_of_its_tensor(sender: Any, store: Store) -> None:
    manifest, _ = sent(sender)
    store.held[1] = store.held[1].copy()
    store.held[1][-1] ^= 1
    with pytest.raises(InfrastructureError, match="1 tensors arrived with another checksum: big"):
        await Relay(store.get).deliver(manifest, Engine().receive_weights)
    assert not list(Path("/dev/shm").glob("tracelift-relay-*"))


async def test_a_lost_bucket_ends_the_transfer_with_its_cause(sender: Any) -> None:
    manifest, _ = sent(sender)

    def lost(reference: int) -> Any:
        raise InfrastructureError("weights", f"not in the object store: {reference}")

    with pytest.raises(InfrastructureError, match="not in the object store: 0"):
        await Relay(lost).deliver(manifest, Engine().receive_weights)


def test_a_process_without_a_store_and_an_engine_know_their_part() -> None:
    with pytest.raises(ValueError, match="only where there is one"):
        build_weight_sender("object_store", SenderSettings("test", 1, 1.0))
    assert at_engine("object_store") == "shared_memory" and at_engine("ipc") == "ipc"
