"""Runs the stream, the loop, the pools and the checkpoints in simulation: ``python -m launch.simulate seeds=1000``.

Each seed is a small run with faults on a virtual clock, and gives the same events every time. A seed that breaks a rule
gets one line, with the fewest faults that still break it; exit code 1 then. ``seed=K verbose=true`` runs one seed and
prints its events.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from launch.composition import composed
from launch.entry import entry_point
from tracelift_ray.config.load import to_dataclass
from tracelift_ray.config.rules import Count, Positive, PositiveCount
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.planning.run_config import to_run_config
from tracelift_ray.tracking.alive import time_left

if TYPE_CHECKING:
    from tracelift_ray.simulation.run import Outcome

#: Seeds that a process takes at a time.
CHUNK = 10


@dataclass(frozen=True)
class SimulateConfig:
    """Which simulated runs, and how much is said of them."""

    seeds: PositiveCount
    first: Count
    seed: Count | None
    steps: Count
    verbose: bool
    processes: PositiveCount
    progress_s: Positive


@entry_point("simulate")
def main(cfg: DictConfig) -> int:
    """Run one seed or many; 1 where a rule was broken."""
    command = to_dataclass(SimulateConfig, cfg)
    GlobalHydra.instance().clear()  # the command line is read; now for the run that is simulated
    base = to_run_config(composed("config", ["experiment=quickstart"]))
    return _one(command, base, command.seed) if command.seed is not None else _many(command, base)


def _one(command: SimulateConfig, base: RunConfig, seed: int) -> int:
    from tracelift_ray.simulation.run import shrink, simulate

    outcome = simulate(base, seed, command.steps)
    if outcome.violation:
        outcome = shrink(base, outcome)
    if command.verbose:
        for at, *what in outcome.events:
            print(f"{at:12.3f}  {' '.join(map(str, what))}")
    print(outcome.scenario)
    print(_line(command, outcome) if outcome.violation else f"seed {seed} holds; events {outcome.digest}")
    return int(bool(outcome.violation))


def _many(command: SimulateConfig, base: RunConfig) -> int:
    began = said = monotonic()
    done = failed = 0
    for ran, failures in _results(command, base):
        done += ran
        failed += len(failures)
        for line in failures:
            print(line, flush=True)
        if monotonic() - said > command.progress_s:
            said = monotonic()
            left = time_left(done, command.seeds, said - began)
            print(f"{done:,} of {command.seeds:,} seeds, {failed} failed, {said - began:.0f} s, ETA {left}", flush=True)
    print(f"{done:,} seeds, {failed} failed, {monotonic() - began:.0f} s")
    return int(failed > 0)


def _results(command: SimulateConfig, base: RunConfig) -> Iterator[tuple[int, list[str]]]:
    """Seeds run and lines about those that failed, as they come."""
    end = command.first + command.seeds
    chunks = [range(start, min(start + CHUNK, end)) for start in range(command.first, end, CHUNK)]
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(command.processes, mp_context=context) as workers:
        yield from workers.map(_run_chunk, [command] * len(chunks), [base] * len(chunks), chunks)


def _run_chunk(command: SimulateConfig, base: RunConfig, seeds: range) -> tuple[int, list[str]]:
    from tracelift_ray.simulation.run import shrink, simulate

    outcomes = [simulate(base, seed, command.steps) for seed in seeds]
    return len(seeds), [_line(command, shrink(base, each)) for each in outcomes if each.violation]


def _line(command: SimulateConfig, outcome: Outcome) -> str:
    """One line about a failure, with the command that shows it."""
    faults = " ".join(map(str, outcome.faults)) or "none"
    steps = f" steps={command.steps}" if command.steps else ""
    seed = outcome.scenario.seed
    return (
        f"seed {seed} at {outcome.at_s:.1f} s: {outcome.violation} | faults: {faults} | "
        f"python -m launch.simulate seed={seed}{steps} verbose=true"
    )


if __name__ == "__main__":
    main()
