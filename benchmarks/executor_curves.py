"""Training on the demo under schemes of ``benchmarks.executor_tokens``: what is reached at equal executor samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.algorithms import TASKS, Run, over_seeds, run
from benchmarks.pages import table
from launch.composition import composed
from tracelift_ray.planning.run_config import to_run_config
from tracelift_ray.reward.arms import requirements

METRICS = ("accuracy", "trace_validity")
#: What the learning curves compare, by name: overrides of a run.
CURVES = {
    "fixed": ("reward.e2e=fresh", "reward.num_samples=3"),
    "leave_one_out_2": ("reward.num_samples=2",),
    "leave_one_out_1": ("reward.num_samples=1",),
    "pooled_1": ("reward.num_samples=1", "reward.baseline=pooled"),
}


def samples_per_step(name: str) -> int:
    """Executor samples of a step of the demo, in training."""
    config = to_run_config(composed("config", ["experiment=quickstart", *CURVES[name]]))
    needed, algorithm = requirements(config.reward), config.algorithm
    return algorithm.groups_per_step * (algorithm.group_size * needed.samples + needed.baseline)


def curves(seeds: Sequence[int], steps: int, runs: Path, names: Sequence[str]) -> str:
    """Entries of ``CURVES`` for as many steps, and what each had reached with the samples of the thriftiest."""
    least = min(map(samples_per_step, names))
    head = ["scheme", "samples a step", *(f"{m}, {t}, {w}" for w in ("end", "equal") for m in METRICS for t in TASKS)]
    rows = []
    for name in names:
        made = [run("grpo", seed, steps, runs / name, CURVES[name]) for seed in seeds]
        cells = [name, f"{samples_per_step(name):,}"]
        for when in (steps, steps * least / samples_per_step(name)):
            cells += [
                over_seeds([_at(each, metric, task, when) for each in made]) for metric in METRICS for task in TASKS
            ]
        rows.append(cells)
    return f"{steps} steps, seeds {', '.join(map(str, seeds))}.\n\n{table(head, rows)}"


def _at(made: Run, metric: str, task: str, step: float) -> float | None:
    """A held-out metric at a step, between evaluations on the straight line."""
    steps, values = made.history.series(f"evaluation/{task}/{metric}") if made.history else ([], [])
    return float(np.interp(step, steps, values)) if steps else None
