"""Which split of GPUs is fastest: ``python -m launch.capacity gpus=64 max_staleness=1``.

Every split in eighths between planner, executor, reasoning RM and learner is simulated with the latencies of
``conf/capacity.yaml``, which are yours to measure: what is printed is as good as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from launch.composition import composed
from launch.entry import entry_point
from tracelift_ray.config.load import to_dataclass
from tracelift_ray.config.rules import AtLeast, Count, PositiveCount
from tracelift_ray.planning.run_config import to_run_config
from tracelift_ray.simulation.capacity import Forecast, Split, Workload

#: A pool that works for less of the time than this bounds nothing.
HALF = 0.5


@dataclass(frozen=True)
class CapacityConfig:
    """Which GPUs, which batches, and how long everything takes."""

    gpus: Annotated[int, AtLeast(4)]
    groups_per_step: PositiveCount
    group_size: PositiveCount
    max_staleness: Count
    steps: Annotated[int, AtLeast(2)]
    shown: PositiveCount
    workload: Workload


@entry_point("capacity")
def main(cfg: DictConfig) -> int:
    """Print the fastest splits."""
    from tracelift_ray.simulation.splits import ranked

    command = to_dataclass(CapacityConfig, cfg)
    GlobalHydra.instance().clear()  # the command line is read; now for the run that is simulated
    run = to_run_config(composed("config", ["experiment=quickstart"]))
    algorithm = replace(run.algorithm, groups_per_step=command.groups_per_step, group_size=command.group_size)
    stream = replace(run.stream, max_staleness=command.max_staleness)
    found = ranked(command.workload, command.gpus, algorithm, stream, command.steps)
    for split, forecast in found[: command.shown]:
        print(_line(split, forecast))
    print(f"of {len(found)} splits: {_bound(found[0][1])}")
    return 0


def _bound(best: Forecast) -> str:
    """What the fastest split waits for."""
    first, second, *_ = sorted(best.busy, key=lambda name: -best.busy[name])
    if best.busy[first] < HALF:
        return "the longest traces bound the fastest; larger batches or more staleness would use the GPUs"
    return f"the {first} bounds the fastest, and after it the {second}"


def _line(split: Split, forecast: Forecast) -> str:
    gpus = f"planner {split.planner} executor {split.executor} RM {split.reasoning_rm} learner {split.learner}"
    busy = " ".join(f"{name} {share:.0%}" for name, share in forecast.busy.items())
    return (
        f"{gpus}: step {forecast.step_s:.1f} s, {forecast.traces_per_s:.1f} traces/s, staleness "
        f"{forecast.staleness:.1f}, {forecast.dropped} groups too stale; busy: {busy}"
    )


if __name__ == "__main__":
    main()
