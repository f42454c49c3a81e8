"""Which split of GPUs between the pools and the learner is fastest, by forecasts of all splits in eighths."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from tracelift_ray.config.schema import AlgorithmConfig, StreamConfig
from tracelift_ray.simulation.capacity import Forecast, Split, Workload, forecast

#: Parts that the GPUs are divided in, at most; a pool and the learner get at least one.
PARTS = 8
SHARERS = 4


def splits(gpus: int) -> Iterator[Split]:
    """Every split in eighths of four GPUs or more; what is left over by the division goes to the learner."""
    parts = min(PARTS, gpus)
    each = gpus // parts
    for cuts in combinations(range(1, parts), SHARERS - 1):
        planner, executor, reasoning_rm, _ = (b - a for a, b in zip((0, *cuts), (*cuts, parts), strict=True))
        pools = planner * each, executor * each, reasoning_rm * each
        yield Split(*pools, learner=gpus - sum(pools))


def ranked(
    work: Workload, gpus: int, algorithm: AlgorithmConfig, stream: StreamConfig, steps: int
) -> list[tuple[Split, Forecast]]:
    """All splits, the fastest first."""
    found = [(split, forecast(work, split, algorithm, stream, steps)) for split in splits(gpus)]
    return sorted(found, key=lambda each: each[1].step_s)
