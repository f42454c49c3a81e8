"""Baselines pooled over the visits to a problem, under ``reward.baseline: pooled``.

The executor is frozen, so its success rate without a trace is one constant for each problem, and the samples of all
groups count. A Beta prior around the mean over the problems of a task (empirical Bayes) steadies an estimate of few.

Promise: what a group knows is fixed when it is submitted, and the pool grows only when a batch is done. So where
batches follow from serials, estimates do, too, and a run that goes on from a checkpoint makes the same ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from tracelift_ray.types import Baseline, Problem


class BaselinePool:
    """Successes and samples by problem.

    Args:
        strength: of the prior, in samples.
    """

    def __init__(self, strength: float) -> None:
        self.strength = strength
        self._drawn: defaultdict[str, dict[str, list[int]]] = defaultdict(dict)  # by task and problem
        self._totals: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])  # whole numbers: exact in any order

    def known(self, problem: Problem) -> Baseline:
        """What is known of ``problem``: its samples so far and the prior."""
        successes, samples = self._drawn[problem.task].get(problem.id, (0, 0))
        passed, drawn = self._totals[problem.task]
        mean = (passed + 1) / (drawn + 2)  # 1/2 before the first sample
        return Baseline(successes, samples, self.strength * mean, self.strength)

    def add(self, problem: Problem, before: Baseline, after: Baseline) -> None:
        """A group of ``problem`` that knew ``before`` has drawn what makes it ``after``."""
        more = after.successes - before.successes, after.samples - before.samples
        for counts in (self._drawn[problem.task].setdefault(problem.id, [0, 0]), self._totals[problem.task]):
            counts[0] += more[0]
            counts[1] += more[1]

    def state(self) -> dict[str, Any]:
        """Successes and samples by task and problem, as JSON values."""
        return {task: {name: list(counts) for name, counts in drawn.items()} for task, drawn in self._drawn.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``."""
        self._drawn.clear()
        self._totals.clear()
        for task, drawn in state.items():
            for name, counts in drawn.items():
                self._drawn[task][name] = list(counts)
            self._totals[task] = [sum(counts[i] for counts in drawn.values()) for i in range(2)]
