"""How much of each epoch comes from which source, where the sizes of the sources should not decide (``data.weights``).

An epoch takes as many problems of every source as its weight says, and all of them of the source that is the
scarcest for its weight. A larger source gives each epoch another part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

#: Puts ids in an order of their own for each number.
Shuffle = Callable[[int, Sequence[str]], list[str]]


@dataclass(frozen=True)
class Mixture:
    """Sources and their weights.

    Attributes:
        weights: of each source, above 0; their sum is of no importance.
        origins: the number of each problem's source, by the problem's id.
    """

    weights: tuple[float, ...]
    origins: Mapping[str, int]

    def epoch(self, number: int, ids: Sequence[str], shuffle: Shuffle) -> list[str]:
        """The ids of an epoch (from 0), none twice, those of a source together."""
        by_source: dict[int, list[str]] = {}
        for id in ids:
            by_source.setdefault(self.origins[id], []).append(id)
        scale = min(len(own) / self.weights[source] for source, own in by_source.items())
        drawn = []
        for source, own in sorted(by_source.items()):
            count = min(len(own), max(1, round(self.weights[source] * scale)))
            parts = len(own) // count
            start = number % parts * count
            drawn += shuffle(number // parts, own)[start : start + count]
        return drawn

    def shares(self) -> tuple[float, ...]:
        """The share of each source in an epoch."""
        return tuple(weight / sum(self.weights) for weight in self.weights)
