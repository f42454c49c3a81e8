"""Which split of GPUs is fastest: ``python -m launch.capacity gpus=64 max_staleness=1 picture=splits.png``.

Splits between planner, executor, reasoning RM and learner are simulated with the latencies of ``conf/capacity.yaml``,
or with those that a run measured (``run=runs/NAME``): what is printed is as good as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import process_time
from typing import Annotated

from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from launch.composition import composed
from launch.entry import entry_point
from tracelift_ray.config.load import to_dataclass
from tracelift_ray.config.rules import AtLeast, Count, PositiveCount
from tracelift_ray.planning.run_config import to_run_config
from tracelift_ray.simulation.capacity import Forecast
from tracelift_ray.simulation.splits import Bound, Run, bounds, ranked
from tracelift_ray.simulation.workload import Split, Workload
from tracelift_ray.tracking.alive import Heartbeat, heartbeat


@dataclass(frozen=True)
class CapacityConfig:
    """Which GPUs, which batches, and how long everything takes."""

    gpus: Annotated[int, AtLeast(4)]
    groups_per_step: PositiveCount
    group_size: PositiveCount
    max_staleness: Count
    steps: Annotated[int, AtLeast(2)]
    run: str | None
    picture: str | None
    shown: PositiveCount
    workload: Workload


@entry_point("capacity")
def main(cfg: DictConfig) -> int:
    """Print the fastest splits and what bounds the first."""
    command = to_dataclass(CapacityConfig, cfg)
    GlobalHydra.instance().clear()  # the command line is read; now for the run that is simulated
    with heartbeat(partial(print, flush=True), "reading the workload") as beat:
        _rank(command, beat)
    return 0


def _rank(command: CapacityConfig, beat: Heartbeat) -> None:
    from tracelift_ray.simulation.measured import measured

    work = command.workload if command.run is None else measured(command.run).work
    composition = to_run_config(composed("config", ["experiment=quickstart"]))
    algorithm = replace(composition.algorithm, groups_per_step=command.groups_per_step, group_size=command.group_size)
    stream = replace(composition.stream, max_staleness=command.max_staleness)
    run, began = Run(work, algorithm, stream, command.steps), process_time()
    if command.run is not None:
        beat.say(f"measured in {command.run}: {work}")
    found = ranked(run, command.gpus, beat.doing)
    for split, forecast in found[: command.shown]:
        beat.say(_line(split, forecast))
    beat.doing("finding what bounds the fastest")
    limits = bounds(run, found[0][0])
    simulated, took = sum(each.simulated_s for _, each in found), process_time() - began
    beat.say(f"{len(found)} splits, {simulated:,.0f} s of training in {took:.1f} s of one core")
    beat.say(_bound(limits))
    if command.picture is not None:
        from tracelift_ray.simulation.picture import draw

        beat.doing(f"drawing {command.picture}")
        draw(found, limits, Path(command.picture))
        beat.say(f"wrote {command.picture}")


def _bound(limits: list[Bound]) -> str:
    """What the fastest split waits for."""
    if not limits:
        return "the longest traces bound the fastest; larger batches or more staleness would use the GPUs"
    first, *others = (f"{each.name} (twice as much saves {each.gain:.0%} of a step)" for each in limits)
    after = f"then {others[0]}" if others else "then the longest traces"
    return f"bound by {first}, {after}"


def _line(split: Split, forecast: Forecast) -> str:
    busy = " ".join(f"{name} {share:.0%}" for name, share in forecast.busy.items())
    waiting = " ".join(f"{name} {number:.1f}" for name, number in forecast.waiting.items())
    return (
        f"{split}: step {forecast.step_s:.1f} s, {forecast.traces_per_s:.1f} traces/s, staleness "
        f"{forecast.staleness:.1f}, {forecast.dropped} groups too stale; busy: {busy}; waiting: {waiting}"
    )


if __name__ == "__main__":
    main()
