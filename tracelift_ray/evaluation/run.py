"""Evaluates problems side by side, and keeps each result the moment that it is there.

An infrastructure error leaves its problem without a result, never with a number.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic

from tracelift_ray.config.models import PoolConfig
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.evaluation.results import ProblemResult, ResultsInMemory
from tracelift_ray.tracking.alive import SILENT_S, alive, time_left
from tracelift_ray.types import Problem

#: What a problem is counted under, and the problem.
Task = tuple[str, Problem]
Say = Callable[[str], None]


def concurrency_of(*pools: PoolConfig) -> int:
    """Problems under way at a time: twice the calls that the larger of ``pools`` holds, so that none runs dry."""
    return 2 * max(pool.workers * pool.max_concurrency for pool in pools)


def progress_line(done: int, total: int, elapsed_s: float) -> str:
    """How far an evaluation is, and how long the rest will take."""
    return f"{done:,} of {total:,} problems, ETA {time_left(done, total, elapsed_s)}"


async def evaluate_all(
    tasks: Sequence[Task],
    solve: Callable[[str, Problem], Awaitable[ProblemResult]],
    store: ResultsInMemory,
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
    places, causes, began = asyncio.Semaphore(concurrency), Counter[str](), monotonic()
    before = len(store.done)
    if len(waiting) < len(tasks):
        say(f"{len(tasks) - len(waiting):,} of {len(tasks):,} problems have results already")

    async def one(benchmark: str, problem: Problem) -> None:
        async with places:
            try:
                store.add(await solve(benchmark, problem))
            except InfrastructureError as error:
                causes[str(error)] += 1

    def standing() -> str:
        tried = len(store.done) - before + sum(causes.values())
        line = progress_line(tried, len(waiting), monotonic() - began)
        return f"{line}, {sum(causes.values()):,} without a result" if causes else line

    async with alive(say, standing, SILENT_S), asyncio.TaskGroup() as running:
        for benchmark, problem in waiting:
            running.create_task(one(benchmark, problem))
    return causes
