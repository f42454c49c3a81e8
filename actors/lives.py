"""A training run over a system of actors, through the lives of its learner."""

from __future__ import annotations

import asyncio

from actors.system import RaySystem
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.demo.source import trace_checks
from tracelift_ray.evaluation.heldout import HeldOutEvaluation
from tracelift_ray.evaluation.standing import standing
from tracelift_ray.planning.model_card import card_files
from tracelift_ray.rl.assembly import build_rollout, build_scheduler
from tracelift_ray.rl.canary import Canary
from tracelift_ray.rl.loop import TrainingLoop
from tracelift_ray.rl.preparation import Preparation
from tracelift_ray.rl.requests import Requests
from tracelift_ray.rl.system import PlannerExecutorSystem
from tracelift_ray.rl.watchdog import Snapshot, snapshot
from tracelift_ray.tasks.presets import prompt_path
from tracelift_ray.tracking.run_dir import code_version
from tracelift_ray.tracking.tracker import Tracker
from tracelift_ray.training.checkpoint import Checkpoint
from tracelift_ray.types import Problem


class SystemLives:
    """Implements ``rl.lives.Life`` over a system of actors: its pools, and the loops of the learner's lives."""

    def __init__(
        self,
        run: RunConfig,
        prepared: Preparation,
        system: RaySystem,
        train: tuple[Problem, ...],
        heldout: tuple[Problem, ...],
        tracker: Tracker,
    ) -> None:
        planner_executor = PlannerExecutorSystem(system.pools, prepared.settings)
        self.run, self.train, self.tracker, self.system = run, train, tracker, system
        self._throughput = planner_executor.throughput
        shown = (*train, *prepared.generated)
        self._tasks = sorted({problem.task for problem in shown})
        self._prompt = prompt_path(run.planner.prompt).read_text("utf-8")
        self._code = code_version()
        self.mixture = prepared.mixture
        self.checkpoints = prepared.directory.checkpoints_path
        self.rollout = build_rollout(run, planner_executor)
        self.evaluation = HeldOutEvaluation(run, planner_executor, heldout, trace_checks(run.data))
        system.canary = Canary.of(run, prepared.settings.planner_prompts.planner(shown[0]))
        self.requests = Requests()
        self._loop: TrainingLoop | None = None  # None: the learner is started again
        self._lost_at = 0.0
        if (timeline := tracker.timeline) is not None:
            self.rollout.observe = timeline.of_group
            for pool in system.actor_pools():
                pool.observe(timeline.of_pool(pool.name))

    def begin(self, checkpoint: Checkpoint | None) -> TrainingLoop:
        """The loop over the system's pools, where the checkpoint left it."""
        assert self.system.learner is not None
        self._loop = loop = TrainingLoop(
            self.run,
            self.system.learner,
            self.system.planner,
            build_scheduler(self.run, self.rollout, self.train, self.mixture),
            self.evaluation,
            self.rollout.faults,
            self.tracker,
            self.checkpoints,
            self._metrics,
            self.system.shared,
            self.system.canary,
            self.requests,
        )
        loop.saving.describe = self._card
        loop.saving.observe = self.tracker.log_save
        if self.tracker.timeline is not None:
            loop.stages.observe = self.tracker.timeline.of_loop
        if checkpoint is not None:
            self.tracker.message(f"going on from {checkpoint.path}")
            loop.restore(checkpoint.state())
        return loop

    def _card(self, step: int) -> dict[str, str]:
        return card_files(self.run, self._tasks, self._prompt, str(self._code), step, self.tracker.last_evaluation())

    def _metrics(self) -> dict[str, float]:
        return self.system.metrics() | self._throughput.read()

    async def restart(self, checkpoint: Checkpoint | None) -> None:
        """Start the learner again."""
        self._loop, self._lost_at = None, asyncio.get_running_loop().time()
        await self.system.restart_learner(None if checkpoint is None else str(checkpoint.learner_dir))

    def rewind(self, step: int) -> None:
        """Drop the records of later steps."""
        self.tracker.rewind(step)

    def say(self, line: str) -> None:
        """Tell people."""
        self.tracker.message(line)

    def standing(self) -> str:
        """Where the run is, in a line."""
        return "the learner starts again" if self._loop is None else standing(self._loop, self.evaluation)

    def snapshot(self) -> Snapshot:
        """What the run is in, and what every pool holds."""
        pools = tuple(pool.state() for pool in self.system.actor_pools())
        if self._loop is None:
            return Snapshot(0, {"a start of the learner": self._lost_at}, {}, pools)
        return snapshot(self._loop, pools)
