"""Evaluates problems side by side, and keeps each result the moment that it is there.

An infrastructure error leaves its problem without a result, never with a number.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

from tracelift_ray.config.models import PoolConfig
from tracelift_ray.evaluation.results import ProblemResult
from tracelift_ray.types import InfrastructureError, Problem

PROGRESS_S = 15.0

#: What a problem is counted under, and the problem.
Task = tuple[str, Problem]
Say = Callable[[str], None]


class Results(Protocol):
    """Where results are kept, by benchmark and problem id: ``results.ResultStore``, or memory."""

    done: dict[tuple[str, str], ProblemResult]

    def add(self, result: ProblemResult) -> None:
        """Keep a result."""


@dataclass
class ResultsInMemory:
    """Results that nobody needs later."""

    done: dict[tuple[str, str], ProblemResult] = field(default_factory=dict)

    def add(self, result: ProblemResult) -> None:
        """Keep a result."""
        self.done[result.key] = result


def concurrency_of(*pools: PoolConfig) -> int:
    """Problems under way at a time: twice the calls that the larger of ``pools`` holds, so that none runs dry."""
    return 2 * max(pool.workers * pool.max_concurrency for pool in pools)


async def evaluate_all(
    tasks: Sequence[Task],
    solve: Callable[[str, Problem], Awaitable[ProblemResult]],
    store: Results,
    *,
    say: Say,
    concurrency: int,
) -> Counter[str]:
    """Evaluate what ``store`` has no result of yet; returns the causes of results that are missing, with counts.

    Args:
        tasks: benchmark and problem, each pair once.
        say: gets lines about the progress.
        concurrency: problems under way at a time.
    """
    waiting = [task for task in tasks if (task[0], task[1].id) not in store.done]
    places, causes, said = asyncio.Semaphore(concurrency), Counter[str](), monotonic()
    if len(waiting) < len(tasks):
        say(f"{len(tasks) - len(waiting):,} of {len(tasks):,} problems have results already")

    async def one(benchmark: str, problem: Problem) -> None:
        nonlocal said
        async with places:
            try:
                store.add(await solve(benchmark, problem))
            except InfrastructureError as error:
                causes[str(error)] += 1
        if monotonic() - said > PROGRESS_S:
            said = monotonic()
            say(f"{len(store.done):,} of {len(tasks):,} problems, {sum(causes.values()):,} without a result")

    async with asyncio.TaskGroup() as running:
        for benchmark, problem in waiting:
            running.create_task(one(benchmark, problem))
    return causes
