"""The schemes of ``benchmarks.executor_tokens`` on the verdicts of runs of the demo that drew many samples.

A run draws 9 samples with each trace and 8 without; subsets of them are what a scheme would have drawn.
"""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.algorithms import ROOT, TASKS, over_seeds
from benchmarks.executor_draws import RULES
from benchmarks.executor_world import FIXED, Scheme
from benchmarks.pages import table
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.reward.compute import compute_reward, floor_reward
from tracelift_ray.rl.advantages import GroupRewards
from tracelift_ray.rl.signal import group_advantages
from tracelift_ray.tasks.table import task_of
from tracelift_ray.tracking.history import load_history
from tracelift_ray.tracking.run_dir import RunDirectoryError
from tracelift_ray.types import Artifact, Baseline, Execution, RubricScore, Verdict

#: Steps of a logged run, and its K, which is one less than the samples with each trace.
STEPS, K = 20, 8
#: Resamples of each logged group.
RESAMPLES = 8


def command(seed: int, runs: Path) -> list[str]:
    """The command line of one logged run."""
    return [
        *(sys.executable, "-m", "launch.train", "experiment=quickstart", f"total_steps={STEPS}", f"seed={seed}"),
        *(f"reward.num_samples={K}", "evaluation=off", f"name=logged_{seed}", f"runs_root={runs}"),
    ]


def made(seed: int, runs: Path) -> Path:
    """The directory of a logged run, which is made unless it is there and ended."""
    folder = runs / f"logged_{seed}"
    try:
        done = load_history(folder).training
    except RunDirectoryError:
        done = ()
    if not done or done[-1].step < STEPS:
        print(f"logged run, seed {seed}", flush=True)
        subprocess.run(command(seed, runs), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return folder


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


@dataclass(frozen=True)
class Drawn:
    """What a scheme makes of a group: the advantages, and how many samples that took."""

    advantages: np.ndarray[Any, np.dtype[np.float64]]
    samples: int


def _drawn(
    group: LoggedGroup, scheme: Scheme, order: Sequence[Sequence[int]], without: Sequence[int], config: RunConfig
) -> Drawn:
    """Where the samples of each trace, and those without, are the first of an order."""
    form = task_of(group.task).reward_form
    baseline = Baseline(sum(group.without[i] for i in without[: scheme.baseline]), scheme.baseline)
    counts = _counts(group, scheme, order, baseline)
    rewards = []
    for trace, places, count in zip(group.traces, order, counts, strict=True):
        if not count:
            rewards.append(floor_reward(config.reward, form))
            continue
        reward = replace(scheme, k=scheme.k - scheme.samples + count).config(config.reward)
        samples = [trace.executions[i] for i in places[:count]]
        given, fresh = (samples[:-1], samples[-1]) if scheme.e2e == "fresh" else (samples, None)
        rewards.append(compute_reward(reward, form, given, fresh, baseline, trace.rubric).reward)
    lengths = (1,) * len(rewards)
    advantages = np.array(group_advantages(GroupRewards(tuple(rewards), lengths), config.algorithm)[0])
    return Drawn(advantages, sum(counts) + scheme.baseline)


def _counts(group: LoggedGroup, scheme: Scheme, order: Sequence[Sequence[int]], baseline: Baseline) -> list[int]:
    """Samples of each trace; malformed ones have none, and no say in which others go on."""
    counts = [scheme.samples if trace.executions else 0 for trace in group.traces]
    if not scheme.first:
        return counts
    able = [place for place, count in enumerate(counts) if count]
    shown = [[group.traces[place].executions[i] for i in order[place][: scheme.first]] for place in able]
    successes = np.array([[sum(each.verdict.success for each in samples) for samples in shown]], dtype=int)
    on = RULES[scheme.rule](successes, np.array([baseline.successes]))[0]
    for place, goes_on in zip(able, on, strict=True):
        counts[place] = scheme.samples if goes_on else scheme.first
    return counts


@dataclass(frozen=True)
class Resampled:
    """Squared signal over noise of a group's advantages, the traces being given, and the mean of its samples."""

    signal: float
    samples: float


def resampled(groups: Sequence[LoggedGroup], scheme: Scheme, config: RunConfig, seed: int) -> Resampled:
    """What a scheme makes of logged groups.

    The samples of a scheme come from one end of an order drawn for each trace, those that it is compared with, of the
    scheme itself and of ``FIXED``, from the other: they share none, so products of the two have no bias.
    """
    rng = np.random.default_rng(seed)
    aim = both = own = true = samples = 0.0
    for group, _ in itertools.product(groups, range(RESAMPLES)):
        order = [rng.permutation(len(trace.executions)).tolist() for trace in group.traces]
        without = rng.permutation(len(group.without)).tolist()
        back = ([each[::-1] for each in order], without[::-1])
        first, other = _drawn(group, scheme, order, without, config), _drawn(group, scheme, *back, config).advantages
        one, samples = first.advantages, samples + first.samples
        fixed = _drawn(group, FIXED, *back, config).advantages
        aim += float(one @ fixed)
        both += float(one @ other)
        own += float(one @ one + other @ other) / 2
        true += float(fixed @ _drawn(group, FIXED, order, without, config).advantages)
    return Resampled(aim**2 / true / (own - both), samples / len(groups) / RESAMPLES)


def logged(folders: Sequence[Path], schemes: Sequence[Scheme], config: RunConfig) -> str:
    """The table of the logged runs, one seed each, of the schemes that they can tell."""
    runs = [logged_groups(folder) for folder in folders]
    drawn = min(len(trace.executions) for run in runs for group in run for trace in group.traces if trace.executions)
    size = max(len(group.traces) for run in runs for group in run)
    known = [
        each for each in schemes if not (each.known or each.prior or each.unbiased or each.stops or each.own_baseline)
    ]
    able = [each for each in known if each.samples + FIXED.samples <= drawn]
    rows = [[each.name] for each in able]
    for task in TASKS:
        chosen = [[group for group in run if group.task == task] for run in runs]
        fixed = [resampled(groups, FIXED, config, seed) for seed, groups in enumerate(chosen)]
        for row, scheme in zip(rows, able, strict=True):
            found = [resampled(groups, scheme, config, seed) for seed, groups in enumerate(chosen)]
            share = [one.samples / other.samples for one, other in zip(found, fixed, strict=True)]
            row.append(f"{statistics.fmean(share):.0%}")
            row.append(over_seeds([one.signal / other.signal for one, other in zip(found, fixed, strict=True)], 2))
    count = sum(map(len, runs))
    how = f"{len(runs)} runs of the demo, {count} groups of {size} with {drawn} samples for each trace."
    head = ["scheme", *(cell for task in TASKS for cell in (f"samples, {task}", task))]
    return f"{how}\n\n{table(head, rows)}"
