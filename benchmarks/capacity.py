"""Capacity forecasts against what was measured: two published tables, and a run that was made here.

    python -m benchmarks.capacity                      # the tables, into docs/results/capacity.md
    python -m benchmarks.capacity --run runs/NAME      # runs that were made, with their own latencies
    python -m benchmarks.capacity --speed              # how fast the simulation is

Of each table one half is fitted, the runs whose phases come one after another on the same GPUs, and the other half is
forecast, those that generate and train at the same time. No run that is forecast is fitted. What the tables do not say
is assumed and named here.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from math import exp, log
from pathlib import Path
from random import Random
from statistics import fmean, linear_regression

from benchmarks import capacity_speed
from benchmarks.machine import ROOT, machine
from benchmarks.pages import write_part
from launch.composition import composed
from tracelift_ray.planning.run_config import to_run_config
from tracelift_ray.simulation.capacity import Forecast, forecast
from tracelift_ray.simulation.engines import Speed
from tracelift_ray.simulation.measured import measured
from tracelift_ray.simulation.workload import Lengths, Seconds, Split, Workload

PAGE = ROOT / "docs" / "results" / "capacity.md"
RUN = to_run_config(composed("config", ["experiment=quickstart"]))
#: Of published tables, and of runs that were made here.
BOUND, RUN_BOUND = 0.20, 0.15
#: What fits are chosen from: seconds of a further request in those of one alone, and shares of a step.
BESIDE = (0.001, 0.004, 0.016, 0.06, 0.12, 0.24, 0.48, 0.96)
SHARES, TURNS, FIXED = (0.2, 0.3, 0.4, 0.5), (0.1, 0.2, 0.3, 0.4), (0.0, 0.25, 0.5)


@dataclass(frozen=True)
class Row:
    """One forecast against one measurement, seconds of a step; ``bound`` is how far off it may be."""

    name: str
    measured: float
    predicted: float
    bound: float = BOUND

    @property
    def off(self) -> float:
        """Relative error."""
        return self.predicted / self.measured - 1

    @property
    def kept(self) -> bool:
        """Whether it is within its bound."""
        return abs(self.off) <= self.bound

    def __str__(self) -> str:
        missed = "" if self.kept else " missed"
        return f"| {self.name} | {self.measured:.4g} | {self.predicted:.4g} | {self.off:+.1%}{missed} |"


def simulated(
    work: Workload, engines: int, learner: int, groups: int, size: int, staleness: int, steps: int
) -> Forecast:
    """A run without executor and RM."""
    algorithm = replace(RUN.algorithm, groups_per_step=groups, group_size=size)
    stream = replace(RUN.stream, max_staleness=staleness)
    return forecast(work, Split(engines, 1, 1, learner), algorithm, stream, steps)


def workload(lengths: Lengths, speed: Speed, train_token_s: float, update_s: float, broadcast_s: float) -> Workload:
    """Of a run without executor and RM."""
    none, broadcast = Seconds(0.0), Seconds(broadcast_s)
    return Workload(
        lengths, Lengths(1.0, 0.0, 1), 0, 0, speed, speed, none, none, 1, train_token_s, update_s, 0, broadcast
    )


def fitted_speed(generate: Sequence[tuple[int, float]], lengths: Lengths, groups: int, size: int, slots: int) -> Speed:
    """Of an engine, where so many engines took so many seconds for a batch: the least squares of the logarithms."""
    best, error = Speed(1.0, 0.0, slots), float("inf")
    for beside in BESIDE:
        speed = Speed(1.0, beside, slots)
        times = [
            simulated(workload(lengths, speed, 1e-12, 0.0, 0.0), n, 1, groups, size, 0, 2).step_s for n, _ in generate
        ]
        logs = [log(seconds / time) for (_, seconds), time in zip(generate, times, strict=True)]
        if (found := sum((each - fmean(logs)) ** 2 for each in logs)) < error:
            scale = exp(fmean(logs))
            best, error = Speed(scale, beside * scale, slots), found
    return best


@dataclass(frozen=True)
class Verl:
    """Seconds of a step on so many GPUs: means over 400 steps, and over the first 100 (their total time)."""

    gpus: int
    step: float
    first: float
    gen: float = 0.0
    old_log_prob: float = 0.0
    update: float = 0.0


def _hours(hours: int, minutes: int) -> float:
    """Seconds of a step, of the total time of 100."""
    return (hours * 60 + minutes) * 0.6


#: verl, docs/advance/fully_async.md at 2147009: Qwen2.5-Math-7B on H20, 512 prompts of 16 responses up to 28K tokens. A
#: later revision has exchanged both update times of 32 GPUs, with which the phases no longer add up to the step.
VERL_SYNC = (
    Verl(32, 790.10, _hours(13, 44), 357.41, 107.71, 313.81),
    Verl(64, 365.28, _hours(10, 22), 150.72, 70.26, 133.41),
    Verl(128, 356.30, _hours(8, 36), 177.85, 53.92, 113.81),
)
#: Half of the GPUs generate. A batch of 128 prompts is an update, four are a step, and as many prompts are in flight as
#: six batches have: the threshold 0.5.
VERL_ASYNC = (
    Verl(32, 294.77, _hours(7, 58)),
    Verl(64, 189.26, _hours(4, 57)),
    Verl(128, 150.63, _hours(3, 13)),
)
#: The same page: seconds of a synchronisation of Qwen2.5-Math-7B; GPUs of an engine and its slots are the recipe's.
VERL_SYNC_S, VERL_TP, VERL_SLOTS, VERL_BATCHES = 0.12, 4, 1024, 4
#: Assumed, since the page has no lengths.
VERL_LENGTHS = Lengths(mean=900, spread=1.1, most=28_000)


def verl(of: str) -> list[Row]:
    """The asynchronous runs by a fit to the synchronous ones, ``of`` their ``first`` 100 steps or of all (``step``)."""
    seconds = {run.gpus: getattr(run, of) for run in VERL_SYNC}
    generate = [(run.gpus // VERL_TP, seconds[run.gpus] * run.gen / run.step) for run in VERL_SYNC]
    speed = fitted_speed(generate, VERL_LENGTHS, 512, 16, VERL_SLOTS)
    # The update has a part that GPUs divide and one that they do not; asynchronous runs compute no old log-probs.
    shares = [seconds[run.gpus] * run.update / run.step for run in VERL_SYNC]
    slope, fixed = linear_regression([1 / run.gpus for run in VERL_SYNC], shares)
    token_s = slope / (512 * 16 * _mean(VERL_LENGTHS))
    work = workload(VERL_LENGTHS, speed, token_s, max(0.0, fixed) / VERL_BATCHES, VERL_SYNC_S)
    found = []
    for run in VERL_ASYNC:
        half = run.gpus // 2
        ahead = simulated(work, half // VERL_TP, half, 512 // VERL_BATCHES, 16, 5, 4 * VERL_BATCHES)
        found.append(Row(f"verl, {half}:{half}", getattr(run, of), VERL_BATCHES * ahead.step_s))
    return found


@cache
def _mean(lengths: Lengths) -> float:
    """Mean tokens after the cut."""
    random = Random(0)
    return fmean(lengths.draw(random) for _ in range(20_000))


@dataclass(frozen=True)
class Nemo:
    """A pair of runs: on-policy on ``gpus``, and one step off on ``gpus_off``, half of which generate.

    Attributes:
        tokens, most: mean and longest of a sequence.
        prompts, samples: of a step.
        engine, engine_off: GPUs of a generation engine.
        step, step_off: seconds.
    """

    model: str
    tokens: int
    most: int
    prompts: int
    samples: int
    gpus: int
    engine: int
    step: float
    gpus_off: int
    engine_off: int
    step_off: float


#: NVIDIA-NeMo/RL, docs/about/performance-summary.md, release 0.4, H100; splits and prompts are those of the recipes.
NEMO_04 = (
    Nemo("Llama 3.1 8B", 1060, 4096, 64, 32, 16, 1, 97.7, 16, 1, 74.6),
    Nemo("DeepSeek V3", 745, 1536, 32, 16, 256, 32, 154, 512, 32, 77.9),
    Nemo("Qwen3 235B", 5671, 8192, 16, 32, 128, 16, 506, 256, 8, 241),
    Nemo("Qwen3 30B-A3B", 3154, 4096, 64, 32, 32, 4, 225, 32, 2, 244),
    Nemo("Qwen3 32B", 3206, 4096, 64, 32, 32, 4, 393, 64, 4, 215),
)
#: The same page at release 0.5.
NEMO_05 = (
    Nemo("Llama 3.1 8B, H100", 1019, 4096, 64, 32, 16, 1, 92.8, 16, 1, 64.8),
    Nemo("DeepSeek V3, H100", 744, 1536, 32, 16, 256, 32, 134, 512, 32, 64.9),
    Nemo("Qwen3 235B, H100", 5700, 8192, 16, 32, 128, 16, 431, 256, 8, 203),
    Nemo("Qwen3 30B-A3B, H100", 3196, 4096, 64, 32, 32, 2, 198, 32, 2, 154),
    Nemo("Qwen3 32B, H100", 3251, 4096, 64, 32, 32, 4, 376, 64, 4, 200),
    Nemo("Llama 3.1 8B, GB200", 1066, 4096, 64, 32, 8, 1, 91.0, 8, 1, 71.1),
    Nemo("DeepSeek V3, GB200", 996, 1536, 32, 16, 128, 32, 128, 256, 16, 64.5),
    Nemo("Qwen3 235B, GB200", 5711, 8192, 16, 32, 64, 8, 332, 128, 8, 268),
    Nemo("Qwen3 30B-A3B, GB200", 3198, 4096, 64, 32, 16, 1, 232, 32, 1, 136),
    Nemo("Qwen3 32B, GB200", 3253, 4096, 64, 32, 16, 1, 381, 32, 1, 210),
)
NEMO_SLOTS = 256


@dataclass(frozen=True)
class Shape:
    """What all pairs share.

    Attributes:
        generate: share of an on-policy step that generates.
        turn: share that only one set of GPUs has to spend: weights that move in and out of it.
        beside: an engine's seconds for a further request, in those of one alone.
        fixed: share of the training that GPUs do not divide.
    """

    generate: float
    turn: float
    beside: float
    fixed: float


def off_policy(run: Nemo, shape: Shape) -> Row:
    """One step off, from the on-policy run and the shape."""
    lengths = Lengths(run.tokens, 0.5, run.most)
    alone_s = shape.generate * run.step / _generation(run, shape.beside)
    speed = Speed(alone_s, shape.beside * alone_s, NEMO_SLOTS)
    train = (1 - shape.generate - shape.turn) * run.step
    token_s = (1 - shape.fixed) * train * run.gpus / (run.prompts * run.samples * _mean(lengths))
    work = workload(lengths, speed, token_s, shape.fixed * train, 0.0)
    engines = max(1, run.gpus_off // 2 // run.engine_off)
    ahead = simulated(work, engines, run.gpus_off // 2, run.prompts, run.samples, 1, 5)
    return Row(f"NeMo-RL, {run.model}", run.step_off, ahead.step_s)


@cache
def _generation(run: Nemo, beside: float) -> float:
    """Time of an on-policy batch where a token alone takes 1."""
    lengths, engines = Lengths(run.tokens, 0.5, run.most), run.gpus // run.engine
    work = workload(lengths, Speed(1.0, beside, NEMO_SLOTS), 1e-12, 0.0, 0.0)
    return simulated(work, engines, 1, run.prompts, run.samples, 0, 2).step_s


def fitted_shape() -> Shape:
    """The shape that says the pairs of release 0.4 best, by the squares of relative errors."""
    best, least = None, float("inf")
    for shape in (Shape(*each) for each in product(SHARES, TURNS, BESIDE, FIXED)):
        found = 0.0
        for run in NEMO_04:
            found += log(1 + off_policy(run, shape).off) ** 2
            if found >= least:  # whatever the others say
                break
        else:
            best, least = shape, found
    assert best is not None
    return best


def table(rows: Sequence[Row]) -> str:
    """As Markdown."""
    head = ["| run | measured, s a step | forecast | off |", "|---|--:|--:|--:|"]
    return "\n".join([*head, *map(str, rows), "", within(rows)])


def within(rows: Sequence[Row]) -> str:
    """How many keep their bound, which is the same for all."""
    return f"{sum(row.kept for row in rows)} of {len(rows)} within {rows[0].bound:.0%}."


def published() -> str:
    """Both tables, fitted and forecast."""
    shape = fitted_shape()
    return "\n\n".join(
        (
            "verl, fitted to the synchronous runs, first 100 steps:",
            table(verl("first")),
            "The same with the means over all 400 steps:",
            table(verl("step")),
            f"NeMo-RL 0.5, one step off. Of an on-policy step {shape.generate:.0%} generates and {shape.turn:.0%} is "
            f"spent by one set of GPUs alone; a further request takes {shape.beside:.1%} of a token's time, and GPUs "
            f"do not divide {shape.fixed:.0%} of the training:",
            table([off_policy(run, shape) for run in NEMO_05]),
            "Release 0.4, to which these four numbers were fitted:",
            table([off_policy(run, shape) for run in NEMO_04]),
        )
    )


def compared(paths: Sequence[str]) -> str:
    """Runs against their forecasts: the second half of a run by the latencies of the first, and the run by its own."""
    lines = ["| run | measured, s a step | forecast | off | staleness | forecast |", "|---|--:|--:|--:|--:|--:|"]
    rows = []
    for path in paths:
        whole = measured(path)
        middle = (whole.steps + 1) // 2
        first, second = measured(path, slice(1, middle)), measured(path, slice(middle, None))
        name = f"`{Path(path).name}`"
        half = f"{name}, steps {middle + 1} to {whole.steps} by those before"
        for title, by, made in (half, first, second), (f"{name}, all by themselves", whole, whole):
            ahead = forecast(by.work, by.split, *by.settings(RUN.algorithm, RUN.stream), by.steps)
            rows.append(Row(title, made.step_s, ahead.step_s, RUN_BOUND))
            lines.append(f"{rows[-1]} {made.staleness:.1f} | {ahead.staleness:.1f} |")
    where = machine()
    return "\n".join([*lines, "", f"{within(rows)} {where['cores']} cores, {where['processor']}."])


def main() -> None:
    """Compare or measure, print, and write that part of the page."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = options.add_mutually_exclusive_group()
    what.add_argument("--run", nargs="+", help="run directories, in place of the published tables")
    what.add_argument("--speed", action="store_true", help="how fast the simulation is, in place of the tables")
    chosen = options.parse_args()
    if chosen.speed:
        text, name = capacity_speed.table(capacity_speed.speeds(RUN)), "speed"
    elif chosen.run is not None:
        text, name = compared(chosen.run), "run"
    else:
        text, name = published(), "published"
    print(text)
    write_part(PAGE, f"{name}, written by python -m benchmarks.capacity", text)


if __name__ == "__main__":
    main()
