"""A simulated learner: its weights are a digest of all that it was trained on, so two runs can be compared by them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracelift_ray.errors import LearnerLost, TransferBroken
from tracelift_ray.simulation.members import SLOWER, draw
from tracelift_ray.transfer.manifest import Held, Sent, WeightManifest
from tracelift_ray.types import TrainBatch, TrainSample

if TYPE_CHECKING:
    from tracelift_ray.simulation.world import World

#: For the learner to send a version, and for an engine to take it.
TRANSFER_S = 40.0


class Channel:
    """Where the learner meets the engines that it described a version for."""

    def __init__(self, expected: Sequence[str], simultaneous: bool) -> None:
        self.missing = set(expected) if simultaneous else set()
        self.met = asyncio.Event()
        self.content: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.content.add_done_callback(lambda done: done.exception())  # nobody may be left to read it
        if not self.missing:
            self.met.set()

    def join(self, name: str) -> asyncio.Future[str]:
        """An engine is there; the content, once it is sent."""
        self.missing.discard(name)
        if not self.missing:
            self.met.set()
        return self.content

    def break_off(self) -> None:
        """No content will come."""
        if not self.content.done():
            self.content.set_exception(TransferBroken("learner", "the transfer was ended"))
        self.met.set()


class SimulatedLearner:
    """Implements ``rl.pools.LearnerGroup``."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lock = asyncio.Lock()
        self.version = 0
        self.weights = "w"
        self.channels: dict[str, Channel] = {}
        self.given_up = asyncio.Event()

    def load(self, directory: Path | None) -> int | None:
        """Go on from a checkpoint, or begin; the number of the watch's account of that moment."""
        if directory is None:
            self.version, self.weights = 0, "w"
            return None
        state = json.loads((directory / "state.json").read_text())
        self.version, self.weights = state["version"], state["weights"]
        return state["account"]

    async def update(self, batch: TrainBatch) -> dict[str, float] | None:
        async with self.lock:
            fault = await self._fault("learner.update")
            self.world.check_gpus()
            seconds = self.world.seconds(10.0) * (SLOWER if fault == "slow" else 1.0)
            with contextlib.suppress(TimeoutError):  # that of the passes before the optimizer's first step
                await asyncio.wait_for(self.given_up.wait(), seconds / 2)
                self.world.event("learner", "abandoned", self.version)
                return None
            await asyncio.sleep(seconds / 2)
            self.world.watch.update(batch, self.version)
            if fault == "error":
                raise LearnerLost("learner", "a rank died")
            content = sorted((s.completion_ids[0], round(s.advantage, 9)) for s in batch.samples)
            self.weights = f"w{draw(self.weights, content, batch.num_traces, batch.num_groups):x}"
            self.version += self.world.scenario.updates_per_batch
            self.world.event("learner", "update", self.version, self.weights)
        return {"learner/loss": 0.0}

    async def abandon_update(self) -> None:
        self.given_up.set()

    async def describe_weights(self, receivers: Sequence[str], held: Held | None = None) -> WeightManifest:
        self.world.watch.check(self.lock.locked(), "a version is sent under the lock", self.version)
        location = f"transfer-{len(self.channels)}"
        simultaneous = self.world.scenario.simultaneous
        self.channels[location] = Channel(receivers, simultaneous)
        return WeightManifest(self.version, "simulated", (), location, 1, simultaneous, TRANSFER_S)

    async def send_weights(self, manifest: WeightManifest) -> Sent:
        fault = await self._fault("learner.send_weights")
        channel = self.channels[manifest.location]
        known = self.world.watch.sent.setdefault(manifest.version, self.weights)
        self.world.watch.check(known == self.weights, "a version is one set of weights", manifest.version)
        self.world.watch.check(manifest.version == self.version, "a transfer sends what it described", self.version)
        try:
            async with asyncio.timeout(TRANSFER_S):
                await channel.met.wait()
                await asyncio.sleep(self.world.seconds(1.0) * (SLOWER if fault == "slow" else 1.0))
        except TimeoutError:
            channel.break_off()
            raise TransferBroken("learner", f"no meeting with {sorted(channel.missing)}") from None
        if fault == "error":
            channel.break_off()
            raise LearnerLost("learner", "a rank died")
        if fault == "broken":
            channel.break_off()
        if channel.content.done():
            raise TransferBroken("learner", "the transfer was ended")
        channel.content.set_result(self.weights)
        return Sent(f"sum-{self.weights}")

    async def abort_weights(self) -> None:
        for channel in self.channels.values():
            channel.break_off()

    async def score(self, samples: Sequence[TrainSample]) -> tuple[tuple[float, ...], ...]:
        raise AssertionError("a simulated run has no canary")

    async def release_weights(self, manifest: WeightManifest) -> None:
        self.channels[manifest.location].break_off()
        self.world.released += 1

    async def save(self, planner_dir: str, state_dir: str | None) -> None:
        fault = await self._fault("learner.save")
        account = self.world.watch.save(self.version)
        state = {"version": self.version, "weights": self.weights, "account": account}
        (Path(planner_dir) / "model").write_text(self.weights)
        if state_dir is not None:
            (Path(state_dir) / "state.json").write_text(json.dumps(state))
        await asyncio.sleep(self.world.seconds(3.0))
        if fault == "full":
            raise OSError(errno.ENOSPC, "no space left on device")
        if fault == "error":
            raise LearnerLost("learner", "a rank died")

    async def _fault(self, where: str) -> str:
        fault = self.world.take(where)
        if fault == "kill":
            self.world.die(fault)
            await asyncio.Event().wait()
        return fault
