"""How many executor samples a gradient needs: bias, variance and signal-to-noise of ways to draw them, as tables.

    python -m benchmarks.executor_tokens --all --runs runs/tokens            # all that follows: hours on two cores
    python -m benchmarks.executor_tokens                                     # simulation, seeds 0 to 2: minutes
    python -m benchmarks.executor_tokens --logged runs/logged_0 runs/logged_1 runs/logged_2
    python -m benchmarks.executor_tokens --curves 40 --runs runs/tokens      # trains on the demo: an hour on two cores
    python -m benchmarks.executor_tokens --lengths runs/quickstart           # prints what ``LENGTHS`` holds

Each writes its part of ``docs/results/executor_tokens.md``, which says how it is to be read. ``--logged`` draws subsets
from the verdicts of runs that drew many. ``--all`` makes these where they are missing, in ``--runs``, and trains what
the curves lack; what is there and ended is not made again.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import executor_lengths, executor_logged
from benchmarks.algorithms import TASKS, over_seeds
from benchmarks.executor_curves import CURVES, curves
from benchmarks.executor_lengths import Lengths, tokens
from benchmarks.executor_world import FIXED, WORLDS, Gradient, Scheme, Table, World, binomial, gradient, moments, table
from benchmarks.pages import table as markdown
from benchmarks.pages import write_part
from launch.composition import composed
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.planning.run_config import to_run_config
from tracelift_ray.reward.grounded import direction
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Artifact, Baseline, Execution, Verdict

OUT = Path(__file__).resolve().parent.parent / "docs" / "results" / "executor_tokens.md"
SCHEMES = (
    FIXED,
    Scheme("released schedule: fixed, a baseline for each trace", "fresh", 3, 3, own_baseline=True),
    Scheme("fresh, K = 2", "fresh", 2, 2),
    Scheme("fresh, K = 1", "fresh", 1, 1),
    Scheme("mean, K = 3", "mean", 3, 3),
    Scheme("leave_one_out, K = 3", "leave_one_out", 3, 3),
    Scheme("leave_one_out, K = 2", "leave_one_out", 2, 2),
    Scheme("leave_one_out, K = 2, baseline of 3", "leave_one_out", 2, 3),
    Scheme("leave_one_out, K = 1", "leave_one_out", 1, 1),
    Scheme("leave_one_out, K = 1, baseline of 3", "leave_one_out", 1, 3),
    Scheme("leave_one_out, K = 1, pooled, first visit", "leave_one_out", 1, 1, prior=2.0),
    Scheme("leave_one_out, K = 1, pooled, fifth visit", "leave_one_out", 1, 1, known=4, prior=2.0),
    Scheme("leave_one_out, K = 1, pooled, full", "leave_one_out", 1, 0, known=16, prior=2.0),
    Scheme("leave_one_out, K = 2, pooled, full", "leave_one_out", 2, 0, known=16, prior=2.0),
    Scheme("fixed, no sample once c is decided", "fresh", 3, 3, stops="trace"),
    Scheme("leave_one_out, K = 3, baseline until decided", "leave_one_out", 3, 3, stops="baseline"),
    Scheme("leave_one_out, 2 and 2 more: unless the group is dead", "leave_one_out", 3, 3, first=2),
    Scheme(
        "leave_one_out, 2 and 2 more: unless its others are dead", "leave_one_out", 3, 3, first=2, rule="others dead"
    ),
    Scheme("leave_one_out, 2 and 2 more: where the order is open", "leave_one_out", 3, 3, first=2, rule="open"),
    Scheme("the same, paid without bias", "leave_one_out", 3, 3, first=2, rule="open", unbiased=True),
    Scheme("leave_one_out, 2 and 2 more: open and not dead", "leave_one_out", 3, 3, first=2, rule="open, alive"),
    Scheme("leave_one_out, 2 and 1 more: where the order is open", "leave_one_out", 2, 2, first=2, rule="open"),
    Scheme("leave_one_out, 2 and 1 more: where the two disagree", "leave_one_out", 2, 2, first=2, rule="disagree"),
)
#: Steps of the learning curves of ``--all``.
STEPS = 40
#: Tokens of the demo and of a real model, by ``--lengths``: runs/quickstart and runs/arithmetic/tracelift_0.
LENGTHS = {
    "demo": {
        "math": Lengths(prompt=37.7, problem=23.3, alone=23.3, other=1.0, sample=2.0, sample_alone=2.0),
        "code": Lengths(prompt=50.5, problem=26.3, alone=26.3, other=1.0, sample=18.5, sample_alone=14.0),
    },
    "SmolLM2": {"math": Lengths(prompt=104.6, problem=75.5, alone=72.5, other=44.5, sample=10.3, sample_alone=9.9)},
}


@cache
def settings() -> RunConfig:
    """The demo's run, for its reward and advantage."""
    return to_run_config(composed("config", ["experiment=quickstart"]))


# ---- simulation


@dataclass(frozen=True)
class Row:
    """A scheme under one seed: largest bias and relative variance of the reward, and its gradients by world."""

    bias: float
    variance: float
    gradients: dict[str, Gradient]


@cache
def rewards_of(scheme: Scheme, task: str, mean: float) -> Table:
    """The rewards of a scheme; ``mean`` counts where there is a prior alone."""
    return table(scheme, task_of(task).reward_form, settings().reward, mean)


def simulated(task: str, seed: int, problems: int, groups: int) -> dict[str, Row]:
    """Every scheme."""
    algorithm, rows = settings().algorithm, {}
    worlds = {name: World.of(name, problems, seed) for name in WORLDS}
    fixed = {name: moments(world, FIXED, rewards_of(FIXED, task, 0.0)) for name, world in worlds.items()}
    for scheme in SCHEMES:
        biases, variances, gradients = [], [], {}
        for name, world in worlds.items():
            rewards = rewards_of(scheme, task, float(world.without.mean()) if scheme.prior else 0.0)
            found, against = moments(world, scheme, rewards), fixed[name]
            biases.append(float(np.abs(found.mean - against.mean).max()))
            variances.append(float(found.variance.mean() / against.variance.mean()))
            gradients[name] = gradient(world, scheme, rewards, against.mean, algorithm, groups, seed)
        rows[scheme.name] = Row(max(biases), statistics.fmean(variances), gradients)
    return rows


def simulation(seeds: Sequence[int], problems: int, groups: int) -> str:
    """The tables of the simulation."""
    parts = []
    for task in TASKS:
        by_seed = [simulated(task, seed, problems, groups) for seed in seeds]
        head = ["scheme", "samples", "share", "bias", "variance"]
        head += [f"traces given, {name}" for name in WORLDS] + [f"whole, {name}" for name in WORLDS]
        rows, drawn = [], {}
        for name in by_seed[0]:
            drawn[name] = statistics.fmean(g.drawn for row in by_seed for g in row[name].gradients.values())
            cells = [name, f"{drawn[name]:.3g}", f"{drawn[name] / FIXED.drawn():.0%}"]
            cells.append(f"{max(row[name].bias for row in by_seed):.3f}")
            cells.append(f"{statistics.fmean(row[name].variance for row in by_seed):.2f}")
            for part, world in itertools.product(("given_traces", "whole"), WORLDS):
                ratios = [
                    getattr(row[name].gradients[world], part) / getattr(row[FIXED.name].gradients[world], part)
                    for row in by_seed
                ]
                cells.append(over_seeds(ratios, 2))
            rows.append(cells)
        parts.append(f"{task.capitalize()}:\n\n{markdown(head, rows)}")
        parts.append(f"{task.capitalize()}, tokens:\n\n{token_shares(task, drawn)}")
    how = f"Seeds {', '.join(map(str, seeds))}; {problems} problems a world, {groups:,} groups for each."
    parts.append(f"Bias of c, exactly, against K = 3 and a baseline of 3:\n\n{direction_bias()}")
    return "\n\n".join([how, *parts])


def token_shares(task: str, drawn: Mapping[str, float]) -> str:
    """Executor tokens of each scheme against ``FIXED``, at every length that was measured for the task."""
    measured = {name: by_task[task] for name, by_task in LENGTHS.items() if task in by_task}
    head, rows = ["scheme"], []
    for name in measured:
        head += [f"written, {name}", f"with prompts, {name}", f"prefix cache, {name}"]
    for scheme in SCHEMES:
        cells = [scheme.name]
        for lengths in measured.values():
            own, fixed = (astuple(tokens(each, lengths, drawn[each.name])) for each in (scheme, FIXED))
            cells += [f"{one / other:.0%}" for one, other in zip(own, fixed, strict=True)]
        rows.append(cells)
    return markdown(head, rows)


def direction_bias() -> str:
    """How far the expectation of the direction c is from that of ``FIXED``, over success rates with and without."""
    config, rates = settings().reward, np.linspace(0, 1, 41)

    def expected(k: int, samples: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        ties = Scheme("", "mean", k, samples).config(config).tie_table
        values = [
            [direction(_passed(n, k), Baseline(b, samples), ties) for b in range(samples + 1)] for n in range(k + 1)
        ]
        return np.einsum("pn,bm,nm->pb", binomial(k, rates), binomial(samples, rates), values)

    fixed, rows = expected(FIXED.k, FIXED.baseline), []
    for k, samples in ((2, 2), (2, 3), (2, 16), (1, 1), (1, 3), (1, 16)):
        away = expected(k, samples) - fixed
        at = np.unravel_index(np.abs(away).argmax(), away.shape)
        where = f"p = {rates[at[0]]:.2f}, {rates[at[1]]:.2f} without"
        rows.append([str(k), str(samples), f"{away[at]:+.3f}", where, f"{np.abs(away).mean():.3f}"])
    return markdown(["K", "samples of the baseline", "largest", "at", "mean size"], rows)


def _passed(successes: int, samples: int) -> list[Execution]:
    verdicts = [Verdict("passed", 1)] * successes + [Verdict("wrong_answer")] * (samples - successes)
    return [Execution(Artifact("", ""), verdict) for verdict in verdicts]


# ---- the page


def asked_for(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """The parts that are asked for, each as soon as it is there."""
    runs, steps = options.runs.absolute(), options.curves or (STEPS if options.all else 0)
    if options.all or not (options.logged or options.curves):
        yield "simulation", simulation(options.seeds, options.problems, options.groups)
    if options.all or options.logged:
        folders = options.logged or [executor_logged.made(seed, runs) for seed in options.seeds]
        yield "logged", executor_logged.logged(folders, SCHEMES, settings())
    if steps:
        yield "curves", curves(options.seeds, steps, runs, options.schemes)


def main() -> None:
    """Make the parts that are asked for, and write them into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every part")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--problems", type=int, default=40, help="of each world")
    parser.add_argument("--groups", type=int, default=1000, help="for each problem")
    parser.add_argument("--logged", type=Path, nargs="+", default=[], help="directories of runs")
    parser.add_argument("--curves", type=int, default=0, help="steps of training")
    parser.add_argument("--schemes", nargs="+", choices=CURVES, default=list(CURVES), help="that --curves trains under")
    parser.add_argument("--runs", type=Path, default=Path("runs/executor_tokens"), help="where runs are made")
    parser.add_argument("--lengths", type=Path, nargs="+", default=[], help="runs whose prompts and samples to measure")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    for folder in options.lengths:
        print(folder, executor_lengths.of_run(folder))
    for name, text in () if options.lengths else asked_for(options):
        print(text, flush=True)
        write_part(options.out, name, text)


if __name__ == "__main__":
    main()
