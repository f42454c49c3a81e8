"""Groups of traces with given rewards, lengths and components, and what the learner would be given of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tracelift_ray.config.schema import AlgorithmConfig
from tracelift_ray.rl.signal import score_batch, score_group
from tracelift_ray.types import Completion, Group, Problem, ScoredGroup, Trace, Trajectory

PROBLEM = Problem("p0", "math", "what is 1 + 1 ?", answer="2")


@dataclass(frozen=True)
class Rewards:
    """One group: a number for each trace, and those that are masked."""

    rewards: tuple[float, ...]
    lengths: tuple[int, ...]
    components: dict[str, tuple[float, ...]] = field(default_factory=dict)
    masked: frozenset[int] = frozenset()

    @property
    def kept(self) -> list[int]:
        return [index for index in range(len(self.rewards)) if index not in self.masked]

    def array(self, name: str = "rewards") -> np.ndarray:
        """Numbers of the unmasked traces."""
        values = self.components[name] if name in self.components else getattr(self, name)
        return np.array(values, dtype=np.float64)[self.kept]

    def reordered(self, order: Sequence[int]) -> Rewards:
        """The same traces in another order."""
        components = {name: tuple(values[i] for i in order) for name, values in self.components.items()}
        masked = frozenset(position for position, i in enumerate(order) if i in self.masked)
        return Rewards(tuple(self.rewards[i] for i in order), tuple(self.lengths[i] for i in order), components, masked)

    def group(self) -> Group:
        return Group(0, PROBLEM, 0, tuple(self._trajectory(index) for index in range(len(self.rewards))))

    def _trajectory(self, index: int) -> Trajectory:
        ids = tuple(range(self.lengths[index]))
        trace = Trace(PROBLEM.id, index, (1, 2), Completion(ids, "x", "stop", (-1.0,) * len(ids)), "x")
        if index in self.masked:
            return Trajectory(trace, masked="executor: gone")
        components = {name: values[index] for name, values in self.components.items()}
        return Trajectory(trace, reward=self.rewards[index], components=components)


def scored_batch(groups: Sequence[Rewards], config: AlgorithmConfig) -> list[ScoredGroup]:
    """The groups in their order, with the advantages that the learner is given."""
    taken = [score_group(each.group(), config) for each in groups]
    final = iter(score_batch([g for g in taken if g.has_signal], [g for g in taken if not g.has_signal], config))
    return [next(final) if each.has_signal else each for each in taken]


def advantages(groups: Sequence[Rewards], config: AlgorithmConfig) -> list[np.ndarray]:
    """The advantages of the unmasked traces of each group."""
    found = [[a for a in each.advantages if a is not None] for each in scored_batch(groups, config)]
    return [np.array(each, dtype=np.float64) for each in found]
