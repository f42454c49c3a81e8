"""The learner's ranks as Ray actors, one rank each, driven together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import ray

from actors.placement import Placement
from actors.pool import remote_class, worker_options
from actors.ranks import RankProcess, Ranks
from actors.telling import told_in_one_line
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.garbage import loading
from tracelift_ray.planning.colocation import sleeping_pools
from tracelift_ray.training.ranks import RankPlace, free_port
from tracelift_ray.transfer.manifest import Held, Sent, WeightManifest
from tracelift_ray.transfer.senders import SenderSettings
from tracelift_ray.types import TrainBatch, TrainSample
from tracelift_ray.usage import Usage, UsageMeter

#: Seconds in which ranks hear that they are to give up a transfer or an update.
ABORT_S = 30.0


class LearnerActor:
    """Owns one rank of the learner."""

    def __init__(self, run: RunConfig, rank: int) -> None:
        self.run = run
        self.rank = rank
        self.meter = UsageMeter(children=False)

    @ray.method(concurrency_group="control")
    def process(self) -> RankProcess:
        """Where this rank runs, beside its work: the answer shows that it lives."""
        return RankProcess.here(self.meter.read())

    def address(self) -> tuple[str, int]:
        """Where the other ranks may meet this one."""
        return ray.util.get_node_ip_address(), free_port()

    @told_in_one_line()
    @loading()
    def start(self, master: tuple[str, int], checkpoint: str | None) -> None:
        """Join the other ranks, load the model and, where given, the state of a checkpoint."""
        # Torch is for the ranks: the run's own process is up sooner without it.
        from tracelift_ray.rl.learner import Learner
        from tracelift_ray.training.logprobs import Distribution

        run = self.run
        place = RankPlace(self.rank, run.learner.num_workers, *master)
        self.learner = Learner(
            run.learner,
            run.algorithm,
            run.planner.model,
            Distribution.of(run.planner.sampling),
            run.total_steps,
            run.seed,
            place,
        )
        self.learner.start()
        if checkpoint is not None:
            self.learner.load_state(checkpoint)
        self.learner.open_weights(
            run.stream.weight_transfer,
            SenderSettings(
                run.name,
                run.stream.bucket_mib,
                run.stream.broadcast_deadline_s,
                workers_per_receiver=run.planner.engine.tensor_parallel_size,
                address=place.master_address,
                backend=run.learner.collective,
                put=ray.put,
                delta=run.stream.sends_changes,
            ),
        )

    def update(self, batch: TrainBatch) -> dict[str, float] | None:
        """Train on a batch; the metrics, which are the same on every rank. None where the update was abandoned."""
        metrics = self.learner.update(batch)
        self._leave_room()
        if metrics is None and self.learner.abandoned:
            return None
        return {} if metrics is None else {f"learner/{name}": value for name, value in metrics.known().items()}

    @ray.method(concurrency_group="control")
    def abandon_update(self) -> None:
        """End an update that has made no optimizer step yet."""
        self.learner.abandon_update()

    def encode_weights(self, held: Held) -> None:
        """Make the present version ready as a change, or take part in gathering it."""
        self.learner.encode_weights(held)

    def describe_weights(self, receivers: Sequence[str]) -> WeightManifest:
        """The manifest of the present version."""
        return self.learner.describe_weights(receivers)

    def send_weights(self, manifest: WeightManifest) -> Sent:
        """Send a version, or take part in gathering it."""
        return self.learner.send_weights(manifest)

    @ray.method(concurrency_group="control")
    def abort_weights(self) -> None:
        """End a transfer that waits for engines."""
        self.learner.abort_weights()

    def score(self, samples: Sequence[TrainSample]) -> tuple[tuple[float, ...], ...]:
        """Log-probs of samples."""
        scores = self.learner.score(samples)
        self._leave_room()
        return scores

    def release_weights(self, version: int) -> None:
        """Free what the transfer held."""
        self.learner.release_weights(version)
        self._leave_room()

    def save(self, planner_dir: str, state_dir: str | None) -> None:
        """Write the planner and, where asked for, the state."""
        self.learner.save_pretrained(planner_dir)
        if state_dir is not None:
            self.learner.save_state(state_dir)

    def close(self) -> None:
        """Leave the group."""
        self.learner.close()

    def _leave_room(self) -> None:
        """Free what those that wake on this GPU need."""
        if sleeping_pools(self.run):
            self.learner.free_cache()


class RayLearnerGroup:
    """Implements ``rl.pools.LearnerGroup``: every call goes to all ranks, and rank 0 answers."""

    def __init__(self, run: RunConfig, placement: Placement) -> None:
        self.run = run
        self.config = run.learner
        self.placement = placement
        self.ranks = Ranks()
        self.lock = asyncio.Lock()
        self.restarts = 0
        self._started = False

    async def start(self, checkpoint: str | None = None) -> None:
        """Start all ranks together. Raises ``InfrastructureError``."""
        actor, startup_s = remote_class(LearnerActor), self.config.startup_s
        self._started = False
        places = [
            worker_options(self.config.cpus_per_worker, self.placement, "learner", rank)
            for rank in range(self.config.num_workers)
        ]
        self.ranks.actors = [actor.options(**place).remote(self.run, rank) for rank, place in enumerate(places)]
        await self.ranks.locate(startup_s)
        (master,) = await self.ranks.call_all(startup_s, "address", first=True)
        await self.ranks.call(startup_s, "start", master, checkpoint)
        self._started = True
        self.ranks.watch()

    async def restart(self, checkpoint: str | None) -> None:
        """Start others in the place of ranks that were lost. Raises ``InfrastructureError``."""
        async with self.lock:
            await self.ranks.end(in_order=False)
            await self.start(checkpoint)
            self.restarts += 1

    def metrics(self) -> dict[str, float]:
        """How often the ranks were lost, and started again."""
        return {"faults/learner/lost": float(self.ranks.losses), "faults/learner/restarts": float(self.restarts)}

    def usages(self) -> dict[str, Usage]:
        """What each rank used when it was asked last, by its name."""
        known = {f"learner/{rank}": process.usage for rank, process in enumerate(self.ranks.processes)}
        return {name: usage for name, usage in known.items() if usage is not None}

    async def update(self, batch: TrainBatch) -> dict[str, float] | None:
        """Train on ``batch``; its metrics, or None where it was abandoned."""
        async with self.lock:
            return await self.ranks.call(self.config.update_deadline_s, "update", ray.put(batch))

    async def abandon_update(self) -> None:
        """End an update that has made no optimizer step yet."""
        await self.ranks.call(ABORT_S, "abandon_update")

    async def describe_weights(self, receivers: Sequence[str], held: Held | None = None) -> WeightManifest:
        """The manifest of the present version."""
        # A save may be under way when a planner engine is restarted.
        deadline_s = self.config.update_deadline_s + self.run.stream.broadcast_deadline_s
        if held is not None and self.run.stream.sends_changes:
            await self.ranks.call(deadline_s, "encode_weights", held)
        (manifest,) = await self.ranks.call_all(deadline_s, "describe_weights", receivers, first=True)
        return manifest

    async def send_weights(self, manifest: WeightManifest) -> Sent:
        """Send what ``manifest`` describes."""
        return await self.ranks.call(self.run.stream.broadcast_deadline_s, "send_weights", manifest)

    async def abort_weights(self) -> None:
        """End a transfer that waits for engines."""
        await self.ranks.call(ABORT_S, "abort_weights")

    async def score(self, samples: Sequence[TrainSample]) -> tuple[tuple[float, ...], ...]:
        """Log-probs of samples."""
        return await self.ranks.call(self.config.update_deadline_s, "score", samples)

    async def release_weights(self, manifest: WeightManifest) -> None:
        """Free what the transfer held."""
        await self.ranks.call(self.run.stream.broadcast_deadline_s, "release_weights", manifest.version)

    async def save(self, planner_dir: str, state_dir: str | None) -> None:
        """Write the planner and, where ``state_dir`` is given, the optimizer's state."""
        await self.ranks.call(self.config.update_deadline_s, "save", planner_dir, state_dir)

    async def close(self) -> None:
        """End all ranks."""
        await self.ranks.end(in_order=self._started)
