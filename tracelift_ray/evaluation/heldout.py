"""The evaluation of a training run: the same held-out problems each time, under the weights now served."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tracelift_ray.config.schema import RunConfig
from tracelift_ray.evaluation.attempts import Attempts, Manner, TraceChecks
from tracelift_ray.evaluation.run import ResultsInMemory, Task, concurrency_of, evaluate_all
from tracelift_ray.evaluation.summary import summarise
from tracelift_ray.rl.system import PlannerExecutorSystem
from tracelift_ray.types import Problem


class HeldOutEvaluation:
    """Evaluates the same held-out problems each time: ``evaluation.problems`` of each task, in their order."""

    def __init__(
        self, run: RunConfig, system: PlannerExecutorSystem, heldout: Sequence[Problem], checks: TraceChecks
    ) -> None:
        taken: Counter[str] = Counter()
        chosen = []
        for problem in heldout:
            if taken[problem.task] < run.evaluation.problems:
                taken[problem.task] += 1
                chosen.append(problem)
        self.problems = tuple(chosen)
        self.concurrency = concurrency_of(run.planner.pool, run.executor.pool)
        self.attempts = Attempts(
            system,
            Manner(
                "greedy",
                run.evaluation.num_samples,
                scored=system.pools.reasoning_rm is not None,
                mask_leaks=run.reward.leak == "mask",
                whole_text=run.reward.malformed == "whole_text",
                checks=checks,
            ),
        )

    async def __call__(self) -> dict[str, Any]:
        """The metrics of one evaluation."""
        results = ResultsInMemory()
        tasks: list[Task] = [(problem.task, problem) for problem in self.problems]
        await evaluate_all(tasks, self.attempts.evaluate, results, say=lambda line: None, concurrency=self.concurrency)
        return summarise(self.problems, list(results.done.values())).metrics()
