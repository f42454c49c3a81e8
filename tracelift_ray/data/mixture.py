"""How much of each epoch comes from which source, where the sizes of the sources should not decide (``data.weights``)
or one of them has no end.

An epoch takes as many problems of every source as its weight says, and all of them of the source that is the
scarcest for its weight. A larger source gives each epoch another part of it. Of a source without an end an epoch takes
problems that no epoch before had: ``EPOCH`` where neither a weight nor another source says how many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tracelift_ray.data.gym import GymStream
from tracelift_ray.types import Problem

#: Puts ids in an order of their own for each number.
Shuffle = Callable[[int, Sequence[str]], list[str]]
#: Problems that an epoch takes of the endless source with the largest weight.
EPOCH = 2_000


@dataclass(frozen=True)
class Mixture:
    """Sources and their weights.

    Attributes:
        weights: of each source, above 0; their sum is of no importance. Empty: an epoch has all problems that there
            are, and ``EPOCH`` of each endless source.
        origins: the number of each problem's source, by the problem's id.
        streams: the endless sources, by their numbers.
    """

    weights: tuple[float, ...]
    origins: Mapping[str, int]
    streams: Mapping[int, GymStream] = field(default_factory=dict)

    def epoch(self, number: int, ids: Sequence[str], shuffle: Shuffle) -> list[str]:
        """The ids of an epoch (from 0), none twice, those of a source together."""
        if not self.weights:
            return list(ids)
        by_source: dict[int, list[str]] = {}
        for id in ids:
            by_source.setdefault(self.origins[id], []).append(id)
        scale = self._scale(ids)
        drawn = []
        for source, own in sorted(by_source.items()):
            count = min(len(own), max(1, round(self.weights[source] * scale)))
            parts = len(own) // count
            start = number % parts * count
            drawn += shuffle(number // parts, own)[start : start + count]
        return drawn

    def generated(self, ids: Sequence[str]) -> dict[str, int]:
        """How many problems an epoch takes of each endless source, where it draws the others from ``ids``."""
        if not self.weights:
            return {stream.source: EPOCH for stream in self.streams.values()}
        scale = self._scale(ids)
        return {stream.source: max(1, round(self.weights[n] * scale)) for n, stream in self.streams.items()}

    def where(self, usable: Callable[[Problem], bool]) -> Mixture:
        """The mixture whose endless sources leave out what is not ``usable``."""
        return replace(self, streams={number: stream.where(usable) for number, stream in self.streams.items()})

    def shares(self) -> tuple[float, ...]:
        """The share of each source in an epoch, where there are weights."""
        return tuple(weight / sum(self.weights) for weight in self.weights)

    def _scale(self, ids: Sequence[str]) -> float:
        """Problems by weight."""
        sizes = Counter(self.origins[id] for id in ids)
        if not sizes:
            return EPOCH / max(self.weights)
        return min(size / self.weights[source] for source, size in sizes.items())
