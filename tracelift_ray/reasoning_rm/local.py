"""Scores traces with a reasoning RM in this process, off the event loop and in batches that form by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from tracelift_ray.config.schema import ReasoningRmConfig
from tracelift_ray.reasoning_rm.gathering import Gatherer
from tracelift_ray.reasoning_rm.scorer import RubricScorer
from tracelift_ray.types import Problem, RubricScore

#: Traces of one pass; more would keep those that come first from their scores.
PASS_SIZE = 256


@dataclass(frozen=True)
class _Asked:
    problem: Problem
    reasoning: str
    max_length: int | None


class ModelScorer:
    """Implements ``backends.TraceScorer`` with the model that ``config`` names."""

    def __init__(self, config: ReasoningRmConfig) -> None:
        self._config = config
        self._gatherer: Gatherer[_Asked, RubricScore] | None = None

    async def start(self) -> None:
        """Load the model. Raises ``RewardModelError`` where there is none."""
        self._scorer = await asyncio.to_thread(RubricScorer, self._config)
        self._gatherer = Gatherer(self._score_all, batch_size=PASS_SIZE)

    async def score(self, problem: Problem, reasoning: str, max_length: int | None = None) -> RubricScore:
        """The rubric score of one trace; ``max_length`` cuts it shorter than the configuration does."""
        assert self._gatherer is not None, "start comes first"
        return await self._gatherer.ask(_Asked(problem, reasoning, max_length))

    async def close(self) -> None:
        """Stop scoring."""
        if self._gatherer is not None:
            await self._gatherer.close()

    async def _score_all(self, asked: Sequence[_Asked]) -> list[RubricScore]:
        items = [(each.problem, each.reasoning) for each in asked]
        return await asyncio.to_thread(self._scorer.score, items, [each.max_length for each in asked])
