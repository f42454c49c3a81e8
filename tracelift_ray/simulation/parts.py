"""The real parts of a run with a watch beside them, and the thin ones that a command would otherwise bring."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tracelift_ray.data.sampler import ProblemSampler, SampledProblem
from tracelift_ray.pools.pool import Pool
from tracelift_ray.rl.ledger import Ledger
from tracelift_ray.rl.rollout import Rollout
from tracelift_ray.rl.scheduler import GroupBatch, Scheduler
from tracelift_ray.rl.tickets import Ticket
from tracelift_ray.simulation.watch import Watch
from tracelift_ray.tasks.prompts import PromptRenderer
from tracelift_ray.types import (
    Artifact,
    Completion,
    Group,
    Problem,
    Prompt,
    RubricScore,
    SamplingParams,
    ScoredGroup,
    Verdict,
)

if TYPE_CHECKING:
    from tracelift_ray.simulation.world import World


class SimulatedTokenizer:
    """As much of a tokenizer as rendering a prompt takes."""

    name_or_path = "simulated"
    added_tokens_decoder: Mapping[int, Any] = {}
    all_special_tokens: Sequence[str] = ()

    def __call__(self, text: str, **options: Any) -> dict[str, list[int]]:
        return {"input_ids": [1, 2, len(text)]}


@lru_cache(1)
def prompt_renderer() -> PromptRenderer:
    """Renders the prompts of both models."""
    return PromptRenderer(SimulatedTokenizer(), "plain")


class WatchedLedger(Ledger):
    """A ledger that is looked at."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def training(self, serial: int) -> None:
        super().training(serial)
        self._watch.consumed(serial, "training")

    def filtered(self, serial: int) -> None:
        super().filtered(serial)
        self._watch.consumed(serial, "filtered")

    def dropped(self, serial: int) -> None:
        super().dropped(serial)
        self._watch.consumed(serial, "dropped")

    def failed(self, serial: int) -> None:
        super().failed(serial)
        self._watch.consumed(serial, "failed")


class WatchedSampler(ProblemSampler):
    """A sampler whose draws are checked."""

    watch: Watch

    def next(self) -> SampledProblem:
        sampled = super().next()
        self.watch.drawn(sampled.epoch, sampled.problem.id)
        return sampled


class WatchedRollout(Rollout):
    """A rollout whose groups are timed."""

    world: World

    async def run(self, ticket: Ticket) -> Group:
        clock = asyncio.get_running_loop().time
        began = clock()
        self.world.watch.submitted(ticket)
        try:
            group = await super().run(ticket)
        except asyncio.CancelledError:
            self.world.watch.running.discard(ticket.serial)
            raise
        except Exception:
            self.world.watch.finished(ticket.serial, clock() - began, self.deadline_s)
            raise
        self.world.watch.finished(ticket.serial, clock() - began, self.deadline_s)
        return group


class WatchedScheduler(Scheduler):
    """A scheduler whose batches are checked."""

    world: World

    async def next_batch(self, version: int) -> GroupBatch:
        batch = await super().next_batch(version)
        self.world.watch.taken(batch, version)
        self.world.event("batch", *(scored.group.serial for scored in batch.seen))
        return batch

    def finished(self, batch: GroupBatch, version: int) -> None:
        self.world.watch.done(batch, version)
        super().finished(batch, version)

    def state(self) -> dict[str, Any]:
        state = super().state()
        self.world.watch.saved_stream(state)
        self.world.watch.saved_traces(state)
        return state


class PooledGenerator:
    """Implements ``rl.pools.GeneratorPool`` over a pool; ``near``: whether calls of a problem follow each other."""

    def __init__(self, pool: Pool, near: bool) -> None:
        self._pool = pool
        self._near = near

    async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
        return await self._pool.call("generate", prompt, params, near=prompt.near if self._near else "")


class PooledVerifier:
    """Implements ``rl.pools.VerifierPool`` over a pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def verify(self, problem: Problem, artifacts: Sequence[Artifact]) -> list[Verdict]:
        return await self._pool.call("verify", problem, artifacts, lane=problem.task)


class PooledReasoningRm:
    """Implements ``rl.pools.ReasoningRmPool`` over a pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def score(self, problem: Problem, reasoning: str) -> RubricScore:
        return await self._pool.call("score", problem, reasoning)


class WatchedTracker:
    """Implements ``rl.loop.Reports`` and passes every report on to the watch."""

    def __init__(self, world: World) -> None:
        self._world = world

    def message(self, text: str) -> None:
        self._world.event("message", text)
        if text.startswith("saved ") and self._world.watch.live:  # not what is torn down with a dead process
            self._world.watch.published = self._world.watch.account.step

    def log_step(self, step: int, metrics: Mapping[str, float]) -> None:
        self._world.watch.metrics(step, dict(metrics))

    def log_evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        self._world.event("evaluation", step)
        self._world.watch.evaluated.append(step)

    def has_evaluation(self, step: int) -> bool:
        return step in self._world.watch.evaluated

    def log_trajectories(self, step: int, groups: Sequence[ScoredGroup], version: int) -> None:
        pass

    def state(self) -> dict[str, Any]:
        return {}
