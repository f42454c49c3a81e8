"""The training loop: batches from the stream to the learner, new weights back to the planner.

One step: take a batch, train on it, broadcast the new weights, account for it. A batch without signal makes no
optimizer step and no new version, so it is neither trained on nor broadcast. An evaluation that is due runs beside the
next update, while the engines still serve the weights that it measures, and ends before the broadcast; only where
engines sleep during an update does it come first. An interrupt is honoured while waiting for groups, and in an update
until its first optimizer step, before which the learner is as after the update before; broadcast, save and an
evaluation beside a finished update run to their end, so that what is saved is one state and every evaluation is made.
A failure that leaves the learner whole ends the run with a checkpoint, too: only one in the middle of an update or of a
save leaves the learner's state in doubt.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tracelift_ray.config.errors import first_line
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.errors import LearnerLost
from tracelift_ray.rl.batch import train_batch
from tracelift_ray.rl.canary import Canary
from tracelift_ray.rl.colocation import SharedGpus
from tracelift_ray.rl.no_update import why_not_updated
from tracelift_ray.rl.pools import LearnerGroup, WeightReceivers
from tracelift_ray.rl.requests import Interrupted, Requests, beside
from tracelift_ray.rl.saving import Saving
from tracelift_ray.rl.scheduler import GroupBatch, Scheduler
from tracelift_ray.rl.watchdog import Stages
from tracelift_ray.rl.weights import Broadcast, broadcast_weights
from tracelift_ray.tracking.aggregate import batch_metrics
from tracelift_ray.tracking.phases import PhaseClock
from tracelift_ray.types import ScoredGroup, TrainBatch

#: Measures the system on held-out problems under the weights now served, as metrics.
Evaluate = Callable[[], Coroutine[Any, Any, dict[str, float]]]


class Reports(Protocol):
    """What a run tells of itself to; ``tracking.tracker.Tracker`` in all but simulated ones."""

    def message(self, text: str) -> None: ...

    def log_step(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def log_evaluation(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def has_evaluation(self, step: int) -> bool: ...

    def log_trajectories(self, step: int, groups: Sequence[ScoredGroup], version: int) -> None: ...

    def state(self) -> Mapping[str, Any]: ...


@dataclass
class Progress:
    """Where the run is: batches consumed, and optimizer steps taken."""

    step: int = 0
    version: int = 0


class TrainingLoop:
    """Runs training over pools that are up. ``train`` returns at ``total_steps`` or raises ``Interrupted``.

    ``faults`` counts infrastructure errors by component; ``checkpoints`` is where checkpoints are kept; ``shared`` are
    the pools on the learner's GPUs, which may be asleep when ``train`` is called; ``canary`` is asked after broadcasts;
    ``requests`` are those of the whole run, where it may have several loops.
    """

    def __init__(
        self,
        run: RunConfig,
        learner: LearnerGroup,
        planner: WeightReceivers,
        scheduler: Scheduler,
        evaluate: Evaluate,
        faults: Counter[str],
        tracker: Reports,
        checkpoints: Path,
        pool_metrics: Callable[[], dict[str, float]] = dict,
        shared: SharedGpus | None = None,
        canary: Canary | None = None,
        requests: Requests | None = None,
    ) -> None:
        self.run = run
        self.learner = learner
        self.planner = planner
        self.scheduler = scheduler
        self.evaluate = evaluate
        self.faults = faults
        self.tracker = tracker
        self.pool_metrics = pool_metrics
        self.shared = shared or SharedGpus()
        self.canary = canary
        self.saving = Saving(run.learner, learner, checkpoints, faults, tracker.message)
        self.progress = Progress()
        self.requests = requests or Requests()
        self.stages = Stages(lambda: asyncio.get_running_loop().time())
        self._saved_at = -1
        self._unmeasured = False  # the weights now served, though an evaluation of them is due
        self._measured: dict[str, float] = {}  # metrics of the present step
        self._whole = True  # the learner's state; not so in an update or a save, nor after one that failed

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from the ``state.json`` of a checkpoint whose learner state is already loaded."""
        self.progress = Progress(state["step"], state["version"])
        self._saved_at = self.progress.step
        self.scheduler.restore(state["stream"])

    async def train(self) -> None:
        """Train to the end; save the planner there, and also where an interrupt or a failure ends the run before."""
        try:
            await self._start()
            clock = PhaseClock(asyncio.get_running_loop().time)
            while self.progress.step < self.run.total_steps:
                await self._step(clock)
            await self._finish()
        except Interrupted:
            self.tracker.message(f"interrupted after step {self.progress.step}; saving the planner")
            await self.save()
            raise
        except LearnerLost:  # there is nothing to save
            raise
        except Exception as error:  # of any component: what was trained is kept, and the error goes on
            await self.scheduler.stop()
            await self._save_after(error)
            raise
        finally:
            await self.scheduler.stop()
            await self.saving.uploads.finish()

    async def _start(self) -> None:
        """Serve the present weights; they are to be measured where that is due and the run before did not."""
        await self._broadcast()
        step, settings = self.progress.step, self.run.evaluation
        due = self._due(settings.every) if step else settings.at_start
        self._unmeasured = due and not self.tracker.has_evaluation(step)

    async def _step(self, clock: PhaseClock) -> None:
        version, update = self.progress.version, dict[str, float]()
        broadcast: Broadcast | None = None
        with clock.phase("rollout"), self.stages.within("rollout"):
            batch = await self.requests.unless_stopped(self.scheduler.next_batch(version), self.save)
        overlong = self.run.reward.overlong == "train"
        training = train_batch(batch.groups, batch.zero_signal, train_overlong=overlong)
        if self._unmeasured and (self.shared.present or not training.samples):
            with clock.phase("evaluate"):
                await self._evaluate()
        measuring = asyncio.ensure_future(self._measure()) if self._unmeasured else None
        if training.samples:
            with clock.phase("update"):
                update = await beside(self._update(training), measuring)
        try:
            if measuring is not None:
                with clock.phase("evaluate"):
                    await measuring
            if training.samples:
                with clock.phase("broadcast"):
                    broadcast = await self._broadcast()
        finally:  # the learner holds the step, whatever became of evaluation and broadcast
            self.scheduler.finished(batch, self.progress.version)
            self.progress.step += 1
            self._log(batch, version, update, broadcast, clock)
        self._unmeasured = self._due(self.run.evaluation.every)
        last = self.progress.step == self.run.total_steps
        # No update follows the last step, and a checkpoint may be compared by what was measured at its step.
        if self._unmeasured and (last or self.saving.config.keep_best):
            with clock.phase("evaluate"):
                await self._evaluate()
        if self._due(self.run.learner.save_every) or self.requests.take_save():
            with clock.phase("save"):
                await self.save()
        elif self.progress.step < self.run.total_steps and self.saving.may_keep_ready():
            with clock.phase("save"):
                await self._keep_ready()
        if self._due(self.run.learner.export_every):
            with clock.phase("save"):
                await self._export()

    async def _finish(self) -> None:
        if not self.tracker.has_evaluation(self.progress.step):
            await self._evaluate()
        await self.save()

    async def _update(self, training: TrainBatch) -> dict[str, float]:
        with self.stages.within("update"):
            await self.shared.to_learner()
            self._whole = False
            updating = self.learner.update(training)
            update = await self.requests.give_up_when_stopped(updating, self.learner.abandon_update)
            self._whole = True
        if update is None:
            raise Interrupted
        self.progress.version += self.run.algorithm.updates_per_batch
        return update

    async def _broadcast(self) -> Broadcast:
        with self.stages.within("broadcast"):
            broadcast = await broadcast_weights(self.learner, self.planner, self.canary, self.shared.to_pools)
        self.progress.version = broadcast.version
        return broadcast

    async def _evaluate(self) -> None:
        await self.requests.unless_stopped(self._measure(), self.save)

    async def _measure(self) -> None:
        with self.stages.within("evaluation"):
            metrics = await self.evaluate()
        self._unmeasured = False
        self._measured |= metrics
        self.tracker.log_evaluation(self.progress.step, metrics)

    async def save(self) -> None:
        """Write a checkpoint of the current step, whole or not at all; once a step is enough."""
        if self._saved_at == self.progress.step:
            return
        if self.requests.stopping and self.saving.promote(self.progress.step):
            self._saved_at = self.progress.step
            return
        with self._saved():
            await self.saving.checkpoint(self.progress.step, self._state(), self._measured)
        self._saved_at = self.progress.step

    async def _keep_ready(self) -> None:
        with self._saved():
            await self.saving.keep_ready(self.progress.step, self._state())

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.progress.step,
            "version": self.progress.version,
            "stream": self.scheduler.state(),
            "tracking": self.tracker.state(),
        }

    async def _export(self) -> None:
        with self._saved():
            await self.saving.export(self.progress.step)

    @contextmanager
    def _saved(self) -> Iterator[None]:
        """The learner writes inside the ``with`` block; its state is in doubt where that fails."""
        self._whole = False
        with self.stages.within("save"):
            yield
        self._whole = True

    async def _save_after(self, failure: Exception) -> None:
        """Save what was trained before a failure, where the learner is whole; a save that fails is one line."""
        step = self.progress.step
        if not self._whole or step in (0, self._saved_at):
            return
        self.tracker.message(f"the run failed after step {step} ({first_line(failure)}); saving the planner")
        try:
            await self.save()
        except Exception as error:  # the failure that ended the run is the one to report
            self.tracker.message(f"the planner could not be saved: {first_line(error)}")

    def _due(self, every: int) -> bool:
        return every > 0 and self.progress.step % every == 0

    def _log(
        self,
        batch: GroupBatch,
        version: int,
        update: dict[str, float],
        broadcast: Broadcast | None,
        clock: PhaseClock,
    ) -> None:
        step, timing = self.progress.step, clock.read()
        metrics = batch_metrics(batch.seen, version) | update | self.scheduler.ledger.metrics() | timing
        metrics |= self.scheduler.sampler.metrics() | self.pool_metrics()
        metrics |= {
            "stream/version": float(self.progress.version),
            "stream/groups_trained": float(len(batch.groups)),
            "stream/groups_zero_signal": float(len(batch.zero_signal)),
            "stream/groups_replaced": float(len(batch.replaced)),
            "stream/groups_dropped": float(batch.dropped),
            "stream/groups_failed": float(batch.failed),
            "stream/refill_cap_reached": float(batch.refill_cap_reached),
        }
        metrics |= {f"faults/{component}": float(count) for component, count in self.faults.items()}
        tokens = sum(len(t.trace.completion.token_ids) for scored in batch.seen for t in scored.group.trajectories)
        metrics["engine/tokens_per_s"] = tokens / timing["time/step_s"] if timing["time/step_s"] else 0.0
        if broadcast is not None:
            metrics |= {"weights/seconds": broadcast.seconds, "weights/engines": float(broadcast.engines)}
            metrics["weights/mib"] = broadcast.num_bytes / 2**20
            metrics["weights/wait_s"] = timing["time/broadcast"] * timing["time/step_s"]
            metrics |= {} if broadcast.canary is None else {"weights/canary": broadcast.canary}
        self._measured = dict(metrics)
        self.tracker.log_step(step, metrics)
        if note := self.scheduler.sampler.note():
            self.tracker.message(note)
        if not update:
            self.tracker.message(f"step {step}: the policy was not updated; {why_not_updated(batch, metrics)}")
        self.tracker.log_trajectories(step, batch.seen, version)
