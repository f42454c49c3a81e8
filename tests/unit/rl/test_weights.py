"""A broadcast ends with every engine that is up on the learner's weights, or it raises."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.hang import HANG_S
from tests.unit.rl.fakes import FakeLearner, FakeReceivers
from tracelift_ray.errors import InfrastructureError, TransferBroken
from tracelift_ray.rl.weights import broadcast_weights
from tracelift_ray.transfer.manifest import Change, Held, Sent, WeightManifest, WeightReceipt
from tracelift_ray.types import TrainBatch


async def test_a_broadcast_says_what_is_served_and_frees_what_it_held() -> None:
    learner, engines = FakeLearner(), FakeReceivers()
    learner.version = 3
    done = await broadcast_weights(learner, engines)
    assert (done.version, done.checksum, done.engines) == (3, "sum-3", 2)
    assert engines.versions == [3] and learner.released == [3]


async def test_an_engine_with_other_weights_fails_the_broadcast_by_name() -> None:
    engines = FakeReceivers(checksum=lambda engine, v: "stale" if engine == 1 else f"sum-{v}")
    learner = FakeLearner()
    with pytest.raises(InfrastructureError, match=r"planner engine 1 serves version 0 \(stale\)"):
        await broadcast_weights(learner, engines)
    assert learner.released == [0]


async def test_a_learner_that_cannot_send_fails_the_broadcast_and_the_engines_wait_no_longer() -> None:
    abandoned = asyncio.Event()

    class Mute(Meeting):
        async def send_weights(self, manifest: WeightManifest) -> Sent:
            await asyncio.sleep(0.01)
            raise InfrastructureError("weight sender", "no space in /dev/shm")

    class Waiting(FakeReceivers):
        async def receive_weights(self, manifest: WeightManifest) -> list[WeightReceipt]:
            try:
                await asyncio.sleep(60)
            finally:
                abandoned.set()
            return []

    learner = Mute()
    with pytest.raises(InfrastructureError, match="no space in /dev/shm"):
        await broadcast_weights(learner, Waiting())
    await asyncio.wait_for(abandoned.wait(), HANG_S)
    assert learner.released == [0]


async def test_a_simultaneous_transfer_sends_while_engines_receive() -> None:
    receiving = asyncio.Event()

    class Answering(Meeting):
        async def send_weights(self, manifest: WeightManifest) -> Sent:
            await receiving.wait()
            return await super().send_weights(manifest)

    class Met(FakeReceivers):
        async def receive_weights(self, manifest: WeightManifest) -> list[WeightReceipt]:
            receiving.set()
            return await super().receive_weights(manifest)

    assert (await asyncio.wait_for(broadcast_weights(Answering(), Met()), HANG_S)).version == 0


async def test_an_engine_that_is_lost_on_the_way_is_left_out() -> None:
    class Losing(FakeReceivers):
        async def receive_weights(self, manifest: WeightManifest) -> list[WeightReceipt]:
            self.count -= 1
            return await super().receive_weights(manifest)

    learner = FakeLearner()
    assert (await broadcast_weights(learner, Losing(2))).engines == 1
    assert (await broadcast_weights(learner, Losing(1))).engines == 0
    assert learner.released == [0, 0]


async def test_a_channel_that_a_lost_engine_broke_is_opened_again_for_those_that_are_up() -> None:
    class Broken(Meeting):
        """A channel of three engines, one of which dies in it."""

        async def send_weights(self, manifest: WeightManifest) -> Sent:
            self.described.append(engines.count)
            if engines.count == 3:
                engines.count = 2
                raise InfrastructureError("weight sender", "the channel broke")
            return await super().send_weights(manifest)

    learner, engines = Broken(), FakeReceivers(3)
    assert (await broadcast_weights(learner, engines)).engines == 2
    assert learner.described == [3, 2] and learner.released == [0, 0]


async def test_a_sender_that_waits_for_a_lost_engine_is_told_to_give_up_and_sends_again_to_the_others() -> None:
    class Waiting(Meeting):
        """NCCL: a dead member is never noticed by the sender."""

        def __init__(self) -> None:
            super().__init__()
            self.given_up = asyncio.Event()

        async def send_weights(self, manifest: WeightManifest) -> Sent:
            if self.given_up.is_set():
                return await super().send_weights(manifest)
            await self.given_up.wait()
            raise TransferBroken("weights", "the channel broke: it was closed")

        async def abort_weights(self) -> None:
            self.given_up.set()

    class Losing(FakeReceivers):
        async def receive_weights(self, manifest: WeightManifest) -> list[WeightReceipt]:
            if learner.given_up.is_set():
                return await super().receive_weights(manifest)
            self.count = 2
            await learner.given_up.wait()
            return []

    learner, engines = Waiting(), Losing(3)
    done = await asyncio.wait_for(broadcast_weights(learner, engines), HANG_S)
    assert done.engines == 2 and learner.released == [0, 0]


async def test_a_transfer_that_breaks_with_every_engine_up_is_not_repeated_for_ever() -> None:
    class Half(FakeReceivers):
        async def receive_weights(self, manifest: WeightManifest) -> list[WeightReceipt]:
            return (await super().receive_weights(manifest))[:1]

    with pytest.raises(InfrastructureError, match="1 of 2 planner engines did not get all of version 0"):
        await asyncio.wait_for(broadcast_weights(FakeLearner(), Half()), HANG_S)


async def test_a_change_that_an_engine_could_not_take_is_followed_by_the_whole_version() -> None:
    engines = Differing()
    learner = Changing(engines)
    assert (await broadcast_weights(learner, engines)).engines == 2
    assert learner.asked == [Held(0, "sum-0"), None]
    engines.refusing = False
    assert (await broadcast_weights(learner, engines)).engines == 2
    assert learner.asked[2:] == [Held(0, "sum-0")]


async def test_a_change_that_broke_on_its_way_is_followed_by_the_whole_version() -> None:
    class Breaking(Changing):
        async def send_weights(self, manifest: WeightManifest) -> Sent:
            if manifest.change:
                engines.versions_held = None
                raise TransferBroken("weights", "the channel broke")
            return await super().send_weights(manifest)

    engines = Differing()
    learner = Breaking(engines)
    assert (await broadcast_weights(learner, engines)).engines == 2
    assert learner.asked == [Held(0, "sum-0"), None]


async def test_where_no_engine_is_up_nothing_is_sent() -> None:
    class Silent(FakeLearner):
        async def send_weights(self, manifest: WeightManifest) -> Sent:
            raise AssertionError("sent to nobody")

    learner = Silent()
    learner.version = 5
    done = await broadcast_weights(learner, FakeReceivers(0))
    assert (done.version, done.checksum, done.engines) == (5, "", 0)


async def test_no_version_changes_under_a_transfer_and_no_two_transfers_overlap() -> None:
    class Slow(FakeLearner):
        open = 0

        async def describe_weights(self, receivers: Sequence[str], held: Held | None = None) -> WeightManifest:
            assert self.open == 0, "two transfers at a time"
            self.open += 1
            await asyncio.sleep(0.001)
            return await super().describe_weights(receivers, held)

        async def send_weights(self, manifest: WeightManifest) -> Sent:
            await asyncio.sleep(0.001)
            assert manifest.version == self.version, "the weights are no longer those that were described"
            return await super().send_weights(manifest)

        async def release_weights(self, manifest: WeightManifest) -> None:
            await super().release_weights(manifest)
            self.open -= 1

    learner, engines = Slow(), FakeReceivers()
    transfers = [broadcast_weights(learner, engines) for _ in range(4)]
    updates = [learner.update(TrainBatch((), 0, 0)) for _ in range(4)]
    mixed = [each for pair in zip(transfers, updates, strict=True) for each in pair]
    await asyncio.gather(*mixed)
    assert engines.versions == [0, 1, 2, 3]


class Differing(FakeReceivers):
    """Engines that all hold version 0, of which one at first cannot take a change of it."""

    def __init__(self) -> None:
        super().__init__()
        self.versions_held: Held | None = Held(0, "sum-0")
        self.refusing = True

    def held(self) -> Held | None:
        return self.versions_held

    async def receive_weights(self, manifest: WeightManifest) -> list[WeightReceipt]:
        receipts = await super().receive_weights(manifest)
        if manifest.change and self.refusing:
            self.versions_held = None
            return receipts[:1]
        self.versions_held = Held(receipts[0].version, receipts[0].checksum)
        return receipts


class Changing(FakeLearner):
    """Sends a change wherever all engines hold a version."""

    def __init__(self, engines: Differing) -> None:
        super().__init__()
        self.engines = engines
        self.asked: list[Held | None] = []

    async def describe_weights(self, receivers: Sequence[str], held: Held | None = None) -> WeightManifest:
        self.asked.append(held)
        described = await super().describe_weights(receivers)
        return replace(described, change=Change(held, "") if held else None)


class Meeting(FakeLearner):
    """A learner whose engines receive while it sends."""

    def __init__(self) -> None:
        super().__init__()
        self.described: list[int] = []

    async def describe_weights(self, receivers: Sequence[str], held: Held | None = None) -> WeightManifest:
        return replace(await super().describe_weights(receivers, held), simultaneous=True)
