"""The reasoning-RM pool: actors that score traces in batches.

Traces arrive one by one; a member scores all that arrived while it was busy together, so that batches form by
themselves and no trace waits for others.
"""

from __future__ import annotations

import asyncio
from typing import Any

import ray

from actors.placement import Placement
from actors.pool import ActorPool
from actors.runtime import worker_environment
from tracelift_ray.config.schema import ReasoningRmConfig
from tracelift_ray.reasoning_rm.scorer import RubricScorer
from tracelift_ray.types import InfrastructureError, Problem, RubricScore

STARTUP_S = 300.0
Waiting = tuple[Problem, str, "asyncio.Future[RubricScore]"]


class ReasoningRmActor:
    """Owns a scorer."""

    def __init__(self, config: ReasoningRmConfig) -> None:
        self.config = config
        self.queue: asyncio.Queue[Waiting] = asyncio.Queue()

    async def start(self) -> None:
        """Return when the model is loaded."""
        self.scorer = await asyncio.to_thread(RubricScorer, self.config)
        self.serving = asyncio.create_task(self._serve())

    async def score(self, problem: Problem, reasoning: str) -> RubricScore:
        """The rubric score of one trace."""
        future: asyncio.Future[RubricScore] = asyncio.get_running_loop().create_future()
        self.queue.put_nowait((problem, reasoning, future))
        return await future

    async def close(self) -> None:
        """Stop serving."""
        self.serving.cancel()

    async def _serve(self) -> None:
        while True:
            waiting = [await self.queue.get()]
            while not self.queue.empty():
                waiting.append(self.queue.get_nowait())
            try:
                scores = await asyncio.to_thread(self.scorer.score, [(p, r) for p, r, _ in waiting])
            except RuntimeError as error:  # out of memory, say: this batch has no scores, the next may
                for _, _, future in waiting:
                    if not future.done():
                        future.set_exception(InfrastructureError("reasoning_rm", str(error)))
                continue
            for (_, _, future), score in zip(waiting, scores, strict=True):
                if not future.done():
                    future.set_result(score)


class RayReasoningRmPool:
    """Implements ``streaming.pools.ReasoningRmPool`` over actors."""

    def __init__(self, config: ReasoningRmConfig, placement: Placement) -> None:
        actor = ray.remote(ReasoningRmActor)

        def spawn(index: int) -> Any:
            options = placement.options("reasoning_rm", index) | worker_environment(config.pool.cpus_per_worker)
            return actor.options(max_concurrency=config.pool.max_concurrency, **options).remote(config)

        self.pool = ActorPool("reasoning_rm", config.pool, spawn, STARTUP_S)

    async def score(self, problem: Problem, reasoning: str) -> RubricScore:
        """The rubric score of one trace."""
        return await self.pool.call("score", problem, reasoning)
