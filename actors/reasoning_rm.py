"""The reasoning-RM pool: actors that score traces, with a model, through a service elsewhere, or by asking a judge."""

from __future__ import annotations

from functools import partial
from typing import Any

from actors.placement import Placement
from actors.pool import PoolActor, References, actor_pool, member_options, remote_class
from actors.sealed import open_secrets
from tracelift_ray.config.models import ReasoningRmConfig
from tracelift_ray.engines.seeds import member_seed
from tracelift_ray.reasoning_rm.scoring.kinds import TraceScorer, build_scorer, scorer_kind
from tracelift_ray.types import Problem, RubricScore

#: Until a reward model is loaded, or a service has answered; what a kind of scorer needs beyond that is added.
STARTUP_S = 300.0


class ReasoningRmActor(PoolActor):
    """Owns a scorer."""

    def __init__(self, config: ReasoningRmConfig, seed: int, sleeps: bool) -> None:
        open_secrets()
        self._build = partial(build_scorer, config, seed, sleeps)

    async def start(self) -> None:
        """Return when it can score."""
        self.scorer: TraceScorer = self._build()
        await self.scorer.start()

    async def score(self, problem: Problem, reasoning: str) -> RubricScore:
        """The rubric score of one trace."""
        return await self.scorer.score(problem, reasoning)

    async def sleep(self) -> None:
        """Free the GPU."""
        await self.scorer.sleep()

    async def wake(self) -> None:
        """Take it again."""
        await self.scorer.wake()

    def figures(self) -> dict[str, float]:
        """Sizes of its batches."""
        return self.scorer.figures()

    async def close(self) -> None:
        """Stop scoring."""
        await self.scorer.close()


class RayReasoningRmPool:
    """Implements ``rl.pools.ReasoningRmPool`` over actors."""

    def __init__(self, config: ReasoningRmConfig, placement: Placement, seed: int, sleeps: bool = False) -> None:
        actor = remote_class(ReasoningRmActor)

        def spawn(index: int, restart: int) -> Any:
            options = member_options(config.pool, placement, "reasoning_rm", index)
            return actor.options(**options).remote(config, member_seed(seed, "reasoning_rm", index, restart), sleeps)

        startup_s = STARTUP_S + scorer_kind(config).startup_s(config)
        self.references = References()
        self.pool = actor_pool("reasoning_rm", config.pool, startup_s, spawn)

    async def score(self, problem: Problem, reasoning: str) -> RubricScore:
        """The rubric score of one trace."""
        return await self.pool.call("score", self.references.of(problem), reasoning)
