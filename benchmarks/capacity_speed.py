"""How fast the simulation of capacity is: simulated seconds of training in seconds of one core.

    python -m benchmarks.capacity --speed

The workload, and how the workers are split, are those of ``benchmarks.asynchrony``: 8 traces a group, each with one
executor request and one score, and a baseline for each group.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from time import process_time

from benchmarks.asynchrony import WORK, divided
from benchmarks.machine import load, machine
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.simulation.capacity import forecast

GOAL = 1000
SIZE, STEPS = 8, 4
#: Workers, and groups of a step.
SHAPES = ((32, 64), (128, 512), (1_000, 64), (1_000, 1_024), (10_000, 64), (10_000, 512), (10_000, 8_192))


@dataclass(frozen=True)
class Speed:
    """One simulated run.

    Attributes:
        simulated_s: of the run.
        core_s: that its simulation took.
    """

    workers: int
    groups: int
    staleness: int
    simulated_s: float
    core_s: float

    @property
    def times(self) -> float:
        """Faster than real time."""
        return self.simulated_s / self.core_s

    @property
    def request_us(self) -> float:
        """Of a core for a request: of each trace one to the planner, the executor and the RM, and the baseline."""
        return 1e6 * self.core_s / (STEPS * self.groups * (3 * SIZE + 1))

    def __str__(self) -> str:
        kept = "kept" if self.times >= GOAL else "missed"
        shape = f"{self.workers:,} | {self.groups:,} | {self.staleness}"
        took = f"{self.simulated_s:,.0f} | {self.core_s:.2f} | {self.times:,.0f} | {kept}"
        return f"| {shape} | {took} | {self.request_us:.1f} |"


def speeds(run: RunConfig, shapes: Iterable[tuple[int, int]] = SHAPES) -> list[Speed]:
    """Each shape on-policy, and one step off."""
    found = []
    for workers, groups in shapes:
        for staleness in (0, 1):
            algorithm = replace(run.algorithm, groups_per_step=groups, group_size=SIZE)
            began = process_time()
            ahead = forecast(WORK, divided(workers), algorithm, replace(run.stream, max_staleness=staleness), STEPS)
            found.append(Speed(workers, groups, staleness, ahead.simulated_s, process_time() - began))
    return found


def table(found: Iterable[Speed]) -> str:
    """As Markdown."""
    where = machine()
    return "\n".join(
        [
            "| workers | groups a step | staleness | simulated, s | one core, s | times faster "
            f"| goal {GOAL:,} | µs a request |",
            "|--:|--:|--:|--:|--:|--:|---|--:|",
            *map(str, found),
            "",
            f"{STEPS} steps each. One core of {where['cores']}, {where['processor']}, Python {where['python']}, load "
            f"average now {load()}.",
        ]
    )
