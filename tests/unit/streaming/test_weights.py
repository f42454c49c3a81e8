"""A broadcast ends with every engine on the learner's weights, or it raises."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.streaming.fakes import FakeLearner, FakeReceivers
from tracelift_ray.engines.transfer import WeightManifest
from tracelift_ray.streaming.weights import broadcast_weights
from tracelift_ray.types import InfrastructureError


async def test_a_broadcast_says_what_is_served_and_frees_what_it_held() -> None:
    learner, engines = FakeLearner(), FakeReceivers()
    learner.version = 3
    done = await broadcast_weights(learner, engines, 1.0)
    assert (done.version, done.checksum, done.engines) == (3, "sum-3", 2)
    assert engines.versions == [3] and learner.released == [3]


async def test_an_engine_with_other_weights_fails_the_broadcast_by_name() -> None:
    engines = FakeReceivers(checksum=lambda engine, v: "stale" if engine == 1 else f"sum-{v}")
    learner = FakeLearner()
    with pytest.raises(InfrastructureError, match=r"planner engine 1 serves version 0 \(stale\)"):
        await broadcast_weights(learner, engines, 1.0)
    assert learner.released == [0]


async def test_a_broadcast_that_hangs_ends_at_its_deadline_and_says_what_to_check() -> None:
    class Hanging(FakeReceivers):
        async def receive_weights(self, manifest: WeightManifest) -> list:
            await asyncio.sleep(60)
            return []

    learner = FakeLearner()
    with pytest.raises(InfrastructureError, match=r"0.05 s \(stream.broadcast_deadline_s\); check"):
        await broadcast_weights(learner, Hanging(), 0.05)
    assert learner.released == [0]


async def test_a_simultaneous_transfer_sends_while_engines_receive() -> None:
    receiving = asyncio.Event()

    class Meeting(FakeLearner):
        async def describe_weights(self, receivers: int) -> WeightManifest:
            return WeightManifest(self.version, "nccl", (), "", 1, True, 1.0)

        async def send_weights(self, manifest: WeightManifest) -> str:
            await receiving.wait()
            return await super().send_weights(manifest)

    class Met(FakeReceivers):
        async def receive_weights(self, manifest: WeightManifest) -> list:
            receiving.set()
            return await super().receive_weights(manifest)

    assert (await broadcast_weights(Meeting(), Met(), 1.0)).version == 0
