"""The one interface through which traces are scored, and the choice of what stands behind it."""

from __future__ import annotations

from typing import Protocol

from tracelift_ray.config.schema import ReasoningRmConfig
from tracelift_ray.types import Problem, RubricScore


class TraceScorer(Protocol):
    """Scores traces against the rubric. Methods are called from one event loop; ``score`` runs concurrently."""

    async def start(self) -> None:
        """Return when scores can be asked for. Raises ``InfrastructureError``, ``DataError`` or ``ValueError``."""
        ...

    async def score(self, problem: Problem, reasoning: str) -> RubricScore:
        """The rubric score of one trace. Raises ``InfrastructureError`` where there is none; never makes one up."""
        ...

    async def close(self) -> None:
        """End every task, connection and process."""
        ...


def build_scorer(config: ReasoningRmConfig, seed: int = 0) -> TraceScorer:
    """The scorer that the configuration asks for, not started yet.

    Args:
        seed: of a judge's sampling.

    Raises:
        ValueError: an unknown backend, or one whose part of the configuration is missing.
    """
    if config.backend == "model":
        from tracelift_ray.reasoning_rm.scoring.local import ModelScorer

        return ModelScorer(config)
    if config.backend == "remote" and config.remote is not None:
        from tracelift_ray.reasoning_rm.scoring.remote import RemoteScorer

        return RemoteScorer(config.remote, config.max_length)
    if config.backend == "judge" and config.judge is not None:
        from tracelift_ray.reasoning_rm.scoring.judge import JudgeScorer

        return JudgeScorer(config.judge, seed)
    raise ValueError(f"the reasoning RM's backend {config.backend!r} is unknown, or its configuration is missing")
