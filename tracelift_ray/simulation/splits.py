"""Which split of GPUs between the pools and the learner is fastest, and what bounds it.

Every split in eighths is forecast; from the fastest of them GPUs move in smaller parts, one part from one to another
at a time, as long as that makes it faster. What bounds a split is found by giving it more: the pool, the verifier
among them, or the learner, whose doubling shortens the step most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from itertools import combinations, permutations

from tracelift_ray.config.schema import AlgorithmConfig, StreamConfig
from tracelift_ray.simulation.capacity import Forecast, forecast
from tracelift_ray.simulation.workload import Split, Workload

#: Parts that the GPUs are divided in at first, at most; a pool and the learner get at least one.
PARTS = 8
SHARERS = tuple(field.name for field in fields(Split))
#: A share of the step by which it must get shorter to count.
GAIN = 0.01


@dataclass(frozen=True)
class Run:
    """What is forecast of every split."""

    work: Workload
    algorithm: AlgorithmConfig
    stream: StreamConfig
    steps: int

    def __call__(self, split: Split) -> Forecast:
        return forecast(self.work, split, self.algorithm, self.stream, self.steps)


@dataclass(frozen=True)
class Bound:
    """What a split waits for.

    Attributes:
        name: the pool, ``learner``, or ``verifier``, whose cores are not among the GPUs that are split.
        gain: the share of the step that its doubling saves.
    """

    name: str
    gain: float


def splits(gpus: int) -> Iterator[Split]:
    """Every split in eighths of four GPUs or more; what is left over by the division goes to the learner."""
    parts = min(PARTS, gpus)
    each = gpus // parts
    for cuts in combinations(range(1, parts), len(SHARERS) - 1):
        planner, executor, reasoning_rm, _ = (b - a for a, b in zip((0, *cuts), (*cuts, parts), strict=True))
        pools = planner * each, executor * each, reasoning_rm * each
        yield Split(*pools, learner=gpus - sum(pools))


def ranked(
    run: Run, gpus: int, tried: Callable[[str, int, int], None] = lambda what, done, total: None
) -> list[tuple[Split, Forecast]]:
    """All splits that were tried, the fastest first.

    Args:
        tried: is called with what goes on, and how many of how many splits are through; 0 of 0: nobody knows.
    """
    even, found = list(splits(gpus)), dict[Split, Forecast]()
    for split in even:
        tried("simulating splits", len(found), len(even))
        found[split] = run(split)
    part = gpus // min(PARTS, gpus) // 2
    while part:
        tried("moving GPUs of the fastest split", 0, 0)
        best = min(found, key=lambda split: found[split].step_s)
        found |= {split: run(split) for split in _moved(best, part) if split not in found}
        if min(each.step_s for each in found.values()) > found[best].step_s * (1 - GAIN):
            part //= 2
    return sorted(found.items(), key=lambda each: each[1].step_s)


def bounds(run: Run, split: Split, count: int = 2) -> list[Bound]:
    """What bounds ``split``, then what bounds it once that has doubled; fewer where no doubling helps any more."""
    found, step_s = list[Bound](), run(split).step_s
    while len(found) < count:
        more = dict(_doubled(run, split))
        steps = {name: run(split).step_s for name, (run, split) in more.items()}
        name = min(steps, key=lambda each: steps[each])
        if steps[name] > step_s * (1 - GAIN):
            break
        found.append(Bound(name, 1 - steps[name] / step_s))
        (run, split), step_s = more[name], steps[name]
    return found


def _doubled(run: Run, split: Split) -> Iterator[tuple[str, tuple[Run, Split]]]:
    """Each pool, and the learner, twice as large."""
    for name in SHARERS:
        yield name, (run, replace(split, **{name: 2 * getattr(split, name)}))
    if run.work.verify_s.takes_time:
        yield "verifier", (replace(run, work=replace(run.work, verifiers=2 * run.work.verifiers)), split)


def _moved(split: Split, part: int) -> Iterator[Split]:
    """``split`` with ``part`` GPUs moved from one to another, in every way that leaves each at least one."""
    for giver, taker in permutations(SHARERS, 2):
        left = getattr(split, giver) - part
        if left > 0:
            yield replace(split, **{giver: left, taker: getattr(split, taker) + part})
