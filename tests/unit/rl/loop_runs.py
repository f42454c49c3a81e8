"""Training loops over fakes, and what they leave."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.configs import run_config
from tests.hang import HANG_S
from tests.unit.rl.fakes import FakeLearner, FakeReceivers, FakeRollout, problems
from tracelift_ray.data.sampler import ProblemSampler
from tracelift_ray.rl.canary import Canary
from tracelift_ray.rl.colocation import SharedGpus
from tracelift_ray.rl.loop import TrainingLoop
from tracelift_ray.rl.scheduler import Scheduler
from tracelift_ray.tracking.run_dir import RunDirectory
from tracelift_ray.tracking.tracker import Tracker
from tracelift_ray.training.checkpoint import newest_complete

BASE = run_config("reward=exec_only", "reasoning_rm.model=''", "tracking.wandb=disabled", "tracking.console=false")

BASE = run_config("reward=exec_only", "reasoning_rm.model=''", "tracking.wandb=disabled", "tracking.console=false")
PROBLEMS = problems(40)


class Run:
    """A loop over fakes in ``path``, and what it left."""

    def __init__(
        self,
        path: Path,
        *,
        steps: int = 4,
        rollout: FakeRollout | None = None,
        resume: bool = False,
        min_std: float = 1e-6,
        shared: SharedGpus | None = None,
        canary: Canary | None = None,
        ready_share: float = 0.0,
    ) -> None:
        self.config = replace(
            BASE,
            total_steps=steps,
            run_dir=str(path),
            algorithm=replace(BASE.algorithm, groups_per_step=2, group_size=2, min_std=min_std),
            evaluation=replace(BASE.evaluation, every=2),
            learner=replace(BASE.learner, save_every=2, keep_checkpoints=2, ready_share=ready_share),
        )
        self.directory = RunDirectory.create(path)
        self.rollout = rollout or FakeRollout()
        self.learner, self.engines = FakeLearner(), FakeReceivers()
        self.evaluations = 0
        found = newest_complete(self.directory.checkpoints_path) if resume else None
        self.tracker = Tracker(
            self.config.tracking, self.directory, steps, {"name": "t"}, found.step if found else None
        )
        scheduler = Scheduler(self.rollout, ProblemSampler(PROBLEMS, 0), self.config.stream, self.config.algorithm)
        self.loop = TrainingLoop(
            self.config,
            self.learner,
            self.engines,
            scheduler,
            self.evaluate,
            Counter({"executor": 3}),
            self.tracker,
            self.directory.checkpoints_path,
            shared=shared,
            canary=canary,
        )
        if found is not None:
            self.learner.version = found.state()["version"]
            self.loop.restore(found.state())

    async def evaluate(self) -> dict[str, float]:
        self.evaluations += 1
        return {"evaluation/math/accuracy": 0.5}

    async def train(self) -> None:
        try:
            await asyncio.wait_for(self.loop.train(), HANG_S)
        finally:
            self.tracker.close()

    def metrics(self) -> list[dict[str, float]]:
        lines = self.directory.metrics_path.read_text().splitlines()
        return [record for record in map(json.loads, lines) if record["kind"] == "training"]


def saved_step(run: Run) -> int | None:
    saved = newest_complete(run.directory.checkpoints_path)
    return None if saved is None else saved.step


def newest_state(run: Run) -> dict[str, Any]:
    saved = newest_complete(run.directory.checkpoints_path)
    assert saved is not None
    return saved.state()
