"""How many executor samples a gradient needs: bias, variance and signal-to-noise of ways to draw them, as tables.

    python -m benchmarks.executor_tokens                                     # simulation, seeds 0 to 2: minutes
    python -m benchmarks.executor_tokens --logged runs/logged_0 runs/logged_1 runs/logged_2
    python -m benchmarks.executor_tokens --curves 60 --runs runs/tokens      # trains on the demo: an hour on two cores

Each writes its part of ``docs/results/executor_tokens.md``, which says how it is to be read. ``--logged`` draws subsets
from the verdicts of runs that drew many, such as those of

    python -m launch.train experiment=quickstart total_steps=20 seed=0 reward.num_samples=8 \\
        evaluation=off name=logged_0
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.algorithms import TASKS, Run, over_seeds, run
from benchmarks.executor_world import FIXED, WORLDS, Gradient, Scheme, World, binomial, gradient, moments, table
from benchmarks.pages import write_part
from launch.composition import composed
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.planning.run_config import to_run_config
from tracelift_ray.reward.arms import requirements
from tracelift_ray.reward.compute import compute_reward, floor_reward
from tracelift_ray.reward.grounded import direction
from tracelift_ray.rl.advantages import GroupRewards
from tracelift_ray.rl.signal import group_advantages
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Artifact, Baseline, Execution, RubricScore, Verdict

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
    Scheme("leave_one_out, K = 3, dead groups end after 2", "leave_one_out", 3, 3, first=2),
)
#: Resamples of each logged group.
RESAMPLES = 8
METRICS = ("accuracy", "trace_validity")
#: What the learning curves compare, by name: overrides of a run.
CURVES = {
    "fixed": ("reward.e2e=fresh", "reward.num_samples=3"),
    "leave_one_out_2": ("reward.num_samples=2",),
    "leave_one_out_1": ("reward.num_samples=1",),
    "pooled_1": ("reward.num_samples=1", "reward.baseline=pooled"),
}


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


def simulated(task: str, seed: int, problems: int, groups: int, config: RunConfig) -> dict[str, Row]:
    """Every scheme that applies to ``task``."""
    form, rows = task_of(task).reward_form, {}
    worlds = {name: World.of(name, problems, seed) for name in WORLDS}
    fixed = {
        name: moments(world, FIXED, table(FIXED, form, config.reward, float(world.without.mean())))
        for name, world in worlds.items()
    }
    for scheme in SCHEMES:
        if scheme.first and task != "math":  # programs that fail still differ in what they earn
            continue
        biases, variances, gradients = [], [], {}
        for name, world in worlds.items():
            rewards = table(scheme, form, config.reward, float(world.without.mean()))
            found, against = moments(world, scheme, rewards), fixed[name]
            biases.append(float(np.abs(found.mean - against.mean).max()))
            variances.append(float(found.variance.mean() / against.variance.mean()))
            gradients[name] = gradient(world, scheme, rewards, against.mean, config.algorithm, groups, seed)
        rows[scheme.name] = Row(max(biases), statistics.fmean(variances), gradients)
    return rows


def simulation(seeds: Sequence[int], problems: int, groups: int) -> str:
    """The tables of the simulation."""
    config, parts = settings(), []
    for task in TASKS:
        by_seed = [simulated(task, seed, problems, groups, config) for seed in seeds]
        head = ["scheme", "samples", "share", "bias", "variance"]
        head += [f"traces given, {name}" for name in WORLDS] + [f"whole, {name}" for name in WORLDS]
        rows = []
        for name in by_seed[0]:
            drawn = statistics.fmean(g.drawn for row in by_seed for g in row[name].gradients.values())
            share = drawn / FIXED.drawn()
            cells = [name, f"{drawn:.3g}", f"{share:.0%}", f"{max(row[name].bias for row in by_seed):.3f}"]
            cells.append(f"{statistics.fmean(row[name].variance for row in by_seed):.2f}")
            for part, world in itertools.product(("given_traces", "whole"), WORLDS):
                ratios = [
                    getattr(row[name].gradients[world], part) / getattr(row[FIXED.name].gradients[world], part)
                    for row in by_seed
                ]
                cells.append(over_seeds(ratios, 2))
            rows.append(cells)
        parts.append(f"{task.capitalize()}:\n\n{_markdown(head, rows)}")
    how = f"Seeds {', '.join(map(str, seeds))}; {problems} problems a world, {groups:,} groups for each."
    parts.append(f"Bias of c, exactly, against K = 3 and a baseline of 3:\n\n{direction_bias()}")
    return "\n\n".join([how, *parts])


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
    return _markdown(["K", "samples of the baseline", "largest", "at", "mean size"], rows)


def _passed(successes: int, samples: int) -> list[Execution]:
    verdicts = [Verdict("passed", 1)] * successes + [Verdict("wrong_answer")] * (samples - successes)
    return [Execution(Artifact("", ""), verdict) for verdict in verdicts]


# ---- logged runs


@dataclass(frozen=True)
class Logged:
    """A logged trace: what its samples showed, and its rubric score; without samples it was malformed."""

    executions: tuple[Execution, ...]
    rubric: RubricScore | None


@dataclass(frozen=True)
class LoggedGroup:
    """The traces of a logged group, and the successes of its baseline, one by one."""

    task: str
    traces: tuple[Logged, ...]
    without: tuple[int, ...]


def logged_groups(folder: Path) -> list[LoggedGroup]:
    """The groups in ``trajectories.jsonl``; masked traces are left out."""
    records = [json.loads(line) for line in (folder / "trajectories.jsonl").read_text("utf-8").splitlines()]
    kept = [record for record in records if record["masked"] is None]
    groups = []
    for _, members in itertools.groupby(kept, key=lambda record: (record["step"], record["group"])):
        traces = list(members)
        first = traces[0]
        passed, samples = first["baseline_successes"], first["baseline_samples"]
        without = (1,) * passed + (0,) * (samples - passed)
        groups.append(LoggedGroup(first["task"], tuple(map(_logged, traces)), without))
    return groups


def _logged(record: dict[str, Any]) -> Logged:
    shown = [*record["verdicts"], *([record["fresh"]] if record["fresh"] else [])]
    verdicts = [Verdict(each["outcome"], each["passed_tests"], each["total_tests"]) for each in shown]
    score = record["rubric"] and RubricScore((), record["rubric"]["total"], record["rubric"]["score"])
    return Logged(tuple(Execution(Artifact("", ""), verdict) for verdict in verdicts), score)


def _drawn(
    group: LoggedGroup, scheme: Scheme, order: Sequence[Sequence[int]], without: Sequence[int], config: RunConfig
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The advantages where the samples of each trace, and those without, are the first of an order."""
    reward, form = scheme.config(config.reward), task_of(group.task).reward_form
    baseline = Baseline(sum(group.without[i] for i in without[: scheme.baseline]), scheme.baseline)
    rewards = []
    for trace, places in zip(group.traces, order, strict=True):
        if not trace.executions:
            rewards.append(floor_reward(reward, form))
            continue
        samples = [trace.executions[i] for i in places[: scheme.samples]]
        given, fresh = (samples[:-1], samples[-1]) if scheme.e2e == "fresh" else (samples, None)
        rewards.append(compute_reward(reward, form, given, fresh, baseline, trace.rubric).reward)
    lengths = (1,) * len(rewards)
    return np.array(group_advantages(GroupRewards(tuple(rewards), lengths), config.algorithm)[0])


def resampled(groups: Sequence[LoggedGroup], scheme: Scheme, config: RunConfig, seed: int) -> float:
    """Squared signal over noise of a group's advantages, the traces being given.

    The samples of a scheme come from one end of an order drawn for each trace, those that it is compared with, of the
    scheme itself and of ``FIXED``, from the other: they share none, so products of the two have no bias.
    """
    rng = np.random.default_rng(seed)
    aim = both = own = true = 0.0
    for group, _ in itertools.product(groups, range(RESAMPLES)):
        order = [rng.permutation(len(trace.executions)).tolist() for trace in group.traces]
        without = rng.permutation(len(group.without)).tolist()
        back = ([each[::-1] for each in order], without[::-1])
        one, other = _drawn(group, scheme, order, without, config), _drawn(group, scheme, *back, config)
        fixed, again = _drawn(group, FIXED, *back, config), _drawn(group, FIXED, order, without, config)
        aim += float(one @ fixed)
        both += float(one @ other)
        own += float(one @ one + other @ other) / 2
        true += float(fixed @ again)
    return aim**2 / true / (own - both)


def logged(folders: Sequence[Path]) -> str:
    """The table of the logged runs, one seed each."""
    config, runs = settings(), [logged_groups(folder) for folder in folders]
    drawn = min(len(trace.executions) for run in runs for group in run for trace in group.traces if trace.executions)
    size = max(len(group.traces) for run in runs for group in run)
    known = [each for each in SCHEMES if not (each.known or each.prior or each.first or each.own_baseline)]
    able = [each for each in known if each.samples + FIXED.samples <= drawn]
    rows: list[list[str]] = [
        [each.name, f"{each.drawn(group=size):g}", f"{each.drawn(group=size) / FIXED.drawn(group=size):.0%}"]
        for each in able
    ]
    for task in TASKS:
        chosen = [[group for group in run if group.task == task] for run in runs]
        fixed = [resampled(groups, FIXED, config, seed) for seed, groups in enumerate(chosen)]
        for row, scheme in zip(rows, able, strict=True):
            found = [resampled(groups, scheme, config, seed) for seed, groups in enumerate(chosen)]
            row.append(over_seeds([one / other for one, other in zip(found, fixed, strict=True)], 2))
    count = sum(map(len, runs))
    how = f"{len(runs)} runs of the demo, {count} groups of {size} with {drawn} samples for each trace."
    return f"{how}\n\n{_markdown(['scheme', 'samples', 'share', *TASKS], rows)}"


# ---- learning curves


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
    return f"{steps} steps, seeds {', '.join(map(str, seeds))}.\n\n{_markdown(head, rows)}"


def _at(made: Run, metric: str, task: str, step: float) -> float | None:
    """A held-out metric at a step, between evaluations on the straight line."""
    steps, values = made.history.series(f"evaluation/{task}/{metric}") if made.history else ([], [])
    return float(np.interp(step, steps, values)) if steps else None


# ---- the page


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Make the part that is asked for, and write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--problems", type=int, default=40, help="of each world")
    parser.add_argument("--groups", type=int, default=1000, help="for each problem")
    parser.add_argument("--logged", type=Path, nargs="+", default=[], help="directories of runs")
    parser.add_argument("--curves", type=int, default=0, help="steps of training")
    parser.add_argument("--schemes", nargs="+", choices=CURVES, default=list(CURVES), help="that --curves trains under")
    parser.add_argument("--runs", type=Path, default=Path("runs/executor_tokens"), help="where --curves trains")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    if options.curves:
        name, text = "curves", curves(options.seeds, options.curves, options.runs.absolute(), options.schemes)
    elif options.logged:
        name, text = "logged", logged(options.logged)
    else:
        name, text = "simulation", simulation(options.seeds, options.problems, options.groups)
    print(text)
    write_part(options.out, name, text)


if __name__ == "__main__":
    main()
