"""The learner's ranks as Ray actors, one rank each, driven together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import ray
from ray.exceptions import GetTimeoutError

from actors.placement import Placement
from actors.pool import remote_class, result_of
from actors.runtime import loading, worker_environment
from actors.telling import told_in_one_line
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.errors import ComponentDead, InfrastructureError
from tracelift_ray.planning.colocation import sleeping_pools
from tracelift_ray.rl.learner import Learner
from tracelift_ray.training.logprobs import Distribution
from tracelift_ray.training.ranks import RankPlace, free_port
from tracelift_ray.transfer.manifest import Sent, WeightManifest
from tracelift_ray.transfer.senders import SenderSettings
from tracelift_ray.types import TrainBatch, TrainSample

#: Seconds in which ranks hear that they are to give up a transfer or an update.
ABORT_S = 30.0


class LearnerActor:
    """Owns one rank of the learner."""

    def __init__(self, run: RunConfig, rank: int) -> None:
        self.run = run
        self.rank = rank

    def node(self) -> str:
        """The address of this rank's node."""
        return ray.util.get_node_ip_address()

    def address(self) -> tuple[str, int]:
        """Where the other ranks may meet this one."""
        return self.node(), free_port()

    @told_in_one_line()
    @loading()
    def start(self, master: tuple[str, int], checkpoint: str | None) -> None:
        """Join the other ranks, load the model and, where given, the state of a checkpoint."""
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
            ),
        )

    def update(self, batch: TrainBatch) -> dict[str, float] | None:
        """Train on a batch; the metrics, which are the same on every rank. None where the update was abandoned."""
        metrics = self.learner.update(batch)
        self._leave_room()
        if metrics is None and self.learner.abandoned:
            return None
        return {} if metrics is None else {f"learner/{name}": float(value) for name, value in asdict(metrics).items()}

    @ray.method(concurrency_group="control")
    def abandon_update(self) -> None:
        """End an update that has made no optimizer step yet."""
        self.learner.abandon_update()

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
        self.ranks: list[Any] = []
        self.nodes: list[str] = []  # of the ranks, as far as they are known
        self.lock = asyncio.Lock()
        self.started = False

    async def start(self, checkpoint: str | None = None) -> None:
        """Start all ranks together. Raises ``InfrastructureError``."""
        actor = remote_class(LearnerActor)
        self.ranks = [
            actor.options(**self._options(rank)).remote(self.run, rank) for rank in range(self.config.num_workers)
        ]
        self.nodes = await self._call_all(self.ranks, self.config.startup_s, "node")
        master = await self._call(self.ranks[:1], self.config.startup_s, "address")
        await self._call(self.ranks, self.config.startup_s, "start", master, checkpoint)
        self.started = True

    def _options(self, rank: int) -> dict[str, Any]:
        variables = self.placement.variables("learner", rank)
        environment = worker_environment(self.config.cpus_per_worker, variables)
        return self.placement.options("learner", rank) | environment

    async def update(self, batch: TrainBatch) -> dict[str, float] | None:
        """Train on ``batch``; its metrics, or None where it was abandoned."""
        async with self.lock:
            return await self._call(self.ranks, self.config.update_deadline_s, "update", ray.put(batch))

    async def abandon_update(self) -> None:
        """End an update that has made no optimizer step yet."""
        await self._call(self.ranks, ABORT_S, "abandon_update")

    async def describe_weights(self, receivers: Sequence[str]) -> WeightManifest:
        """The manifest of the present version."""
        # A save may be under way when a planner engine is restarted.
        deadline_s = self.config.update_deadline_s + self.run.stream.broadcast_deadline_s
        return await self._call(self.ranks[:1], deadline_s, "describe_weights", receivers)

    async def send_weights(self, manifest: WeightManifest) -> Sent:
        """Send what ``manifest`` describes."""
        return await self._call(self.ranks, self.run.stream.broadcast_deadline_s, "send_weights", manifest)

    async def abort_weights(self) -> None:
        """End a transfer that waits for engines."""
        await self._call(self.ranks, ABORT_S, "abort_weights")

    async def score(self, samples: Sequence[TrainSample]) -> tuple[tuple[float, ...], ...]:
        """Log-probs of samples."""
        return await self._call(self.ranks, self.config.update_deadline_s, "score", samples)

    async def release_weights(self, manifest: WeightManifest) -> None:
        """Free what the transfer held."""
        await self._call(self.ranks, self.run.stream.broadcast_deadline_s, "release_weights", manifest.version)

    async def save(self, planner_dir: str, state_dir: str | None) -> None:
        """Write the planner and, where ``state_dir`` is given, the optimizer's state."""
        await self._call(self.ranks, self.config.update_deadline_s, "save", planner_dir, state_dir)

    async def close(self) -> None:
        """End all ranks."""
        up = self.ranks if self.started else ()
        closing = (asyncio.wait_for(result_of(rank.close.remote()), 10.0) for rank in up)
        await asyncio.gather(*closing, return_exceptions=True)
        for rank in self.ranks:
            ray.kill(rank)
        self.ranks, self.nodes = [], []

    async def _call(self, ranks: list[Any], deadline_s: float, method: str, *args: Any) -> Any:
        """``method`` on ``ranks``; the answer of the first."""
        return (await self._call_all(ranks, deadline_s, method, *args))[0]

    async def _call_all(self, ranks: list[Any], deadline_s: float, method: str, *args: Any) -> list[Any]:
        """``method`` on ``ranks``; the answers of all. One rank that fails or is late fails the call."""
        calls = [asyncio.ensure_future(result_of(getattr(rank, method).remote(*args))) for rank in ranks]
        try:
            async with asyncio.timeout(deadline_s):
                return await asyncio.gather(*calls)
        except (TimeoutError, GetTimeoutError):
            late = [rank for rank, call in enumerate(calls) if not call.done() or call.cancelled()]
            raise InfrastructureError(
                "learner",
                f"{self._names(late)} did not finish {method} in {deadline_s:g} s; check the logs there and the "
                "load of the nodes",
            ) from None
        except ComponentDead as error:
            dead = [rank for rank, call in enumerate(calls) if _ended_by(call, ComponentDead)]
            raise InfrastructureError(
                "learner",
                f"{self._names(dead)} died during {method} ({error.cause}); "
                "the run continues from its newest checkpoint when started again with resume=auto",
            ) from None
        finally:
            for call in calls:
                call.cancel()

    def _names(self, ranks: list[int]) -> str:
        """Ranks with their nodes, for messages."""
        return " and ".join(f"rank {rank}" + (f" on {self.nodes[rank]}" if self.nodes else "") for rank in ranks)


def _ended_by(call: asyncio.Future[Any], kind: type[Exception]) -> bool:
    return call.done() and not call.cancelled() and isinstance(call.exception(), kind)
