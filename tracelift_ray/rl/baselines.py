"""The executor's success rate without a trace, under the rule of ``reward.baseline``.

``per_group`` samples it again for each group. ``cached`` keeps one set of samples for each problem on disk and shares
one request between groups that ask at the same time; a cached baseline is never used under another executor,
sampling, prompt, tests or verifier, because all of them are in its key. ``pooled`` adds to what the group knows of
former visits to the problem (``baseline_pool``).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from tracelift_ray.rl.baseline_cache import BaselineCache
from tracelift_ray.types import Baseline, Execution, Problem


class Executes(Protocol):
    """What a baseline needs of the system: executor samples without a trace."""

    async def execute(
        self, problem: Problem, reasoning: str | None, count: int, key: Sequence[int | str]
    ) -> tuple[Execution, ...]:
        """``count`` verified executor samples."""


class Baselines:
    """Samples baselines, from ``cache`` where there is one."""

    def __init__(self, system: Executes, cache: BaselineCache | None = None) -> None:
        self.system = system
        self.cache = cache
        self._sampling: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def sample(self, problem: Problem, epoch: int, count: int, known: Baseline | None = None) -> Baseline:
        """The baseline of ``problem`` over ``count`` samples, and those ``known``. Raises ``InfrastructureError``."""
        if known is not None:
            drawn = await self._execute(problem, (problem.id, epoch, "baseline"), count) if count else Baseline(0, 0)
            successes, samples = known.successes + drawn.successes, known.samples + drawn.samples
            return replace(known, successes=successes, samples=samples, executions=drawn.executions)
        if self.cache is None:
            return await self._execute(problem, (problem.id, epoch, "baseline"), count)
        async with self._sampling[problem.id]:
            stored = self.cache.get(problem)
            if stored is not None:
                return stored
            drawn = await self._execute(problem, (problem.id, "baseline"), count)
            self.cache.put(problem, drawn)
            return drawn

    async def _execute(self, problem: Problem, key: tuple[int | str, ...], count: int) -> Baseline:
        executions = await self.system.execute(problem, None, count, key)
        return Baseline(sum(e.verdict.success for e in executions), len(executions), executions=executions)
