"""The tables of a report: before and after for one run, kinds of runs side by side for several.

A table is plain cells, so that the terminal and Markdown show the same. Figures are those of the held-out
evaluations, with their standard errors over problems where the run measured them; a hyphen stands where a run has
none.
"""

from __future__ import annotations

import itertools
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from tracelift_ray.tracking.history import Point, RunHistory

MISSING = "-"
#: Columns of a table that are names.
NAMES = 2
#: Standard errors on each side of a difference that hold the true one in 95 of 100 cases.
_INTERVAL = 1.96
#: What the name of an arm says already.
_IN_ARM = frozenset({"reward.arm", "reward.clip_max"})
#: Settings of the training alone, which move no evaluation before it; those of the reward that do.
_OF_TRAINING = ("algorithm.", "learner.", "reward.", "stream.", "total_steps")
_OF_TRACES = frozenset({"reward.leak", "reward.malformed"})
#: Settings that the name of a column spells out.
MOST_NAMED = 3
#: Held-out metrics in the order of the tables: name, label, decimals.
ROWS = (
    ("accuracy", "accuracy with trace", 3),
    ("baseline", "accuracy without trace", 3),
    ("uplift", "uplift", 3),
    ("trace_validity", "trace validity", 3),
    ("rm_score", "RM score", 3),
    ("leak", "answer leaks", 3),
    ("malformed", "malformed traces", 3),
    ("trace_tokens", "trace tokens", 1),
)


@dataclass(frozen=True)
class Cells:
    """A table as text; the first two columns, the task and the measure, are names, the others figures."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def rich(self) -> Table:
        """For the terminal."""
        table = Table(title=Text(self.title), title_justify="left", title_style="bold")
        for index, column in enumerate(self.columns):
            table.add_column(Text(column), justify="left" if index < NAMES else "right")
        for row, following in itertools.zip_longest(self.rows, self.rows[1:]):
            table.add_row(*map(Text, row), end_section=following is not None and following[0] != row[0])
        return table

    def markdown(self) -> str:
        """For a file."""
        lines = [self.columns, ("---", "---", *["--:"] * len(self.columns[2:])), *self.rows]
        return f"**{self.title}**\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _figure(point: Point, metric: str, decimals: int) -> str:
    value, error = point.metrics.get(metric), point.metrics.get(f"{metric}_stderr")
    if value is None:
        return MISSING
    return f"{value:.{decimals}f}" + ("" if error is None else f" ± {error:.{decimals}f}")


def _change(first: Point, last: Point, metric: str, decimals: int) -> str:
    return f"{last.metrics[metric] - first.metrics[metric]:+.{decimals}f}" if metric in first.metrics else MISSING


def before_after(run: RunHistory) -> Cells | None:
    """First against last evaluation, every metric of every task; None before there is an evaluation."""
    if not run.evaluations:
        return None
    first, last = run.evaluations[0], run.evaluations[-1]
    title = f"Held-out problems, {run.name}: {run.arm}, seed {run.seed}"
    single = first is last
    columns = (f"before (step {first.step})", f"after (step {last.step})", "change")
    rows = []
    for task in run.tasks:
        for name, label, decimals in ROWS:
            metric = f"evaluation/{task}/{name}"
            if metric in last.metrics:
                before, after = _figure(first, metric, decimals), _figure(last, metric, decimals)
                figures = (after,) if single else (before, after, _change(first, last, metric, decimals))
                rows.append((task, label, *figures))
    if any("±" in cell for row in rows for cell in row):
        title += " (± standard error)"
    return Cells(title, ("task", "measure", *((f"step {last.step}",) if single else columns)), tuple(rows))


def alike(runs: Sequence[RunHistory]) -> dict[str, list[RunHistory]]:
    """Runs that differ in nothing but the seed, in order of their seeds, by what tells them from the others.

    That is the arm, and every setting in which any two of ``runs`` differ; of the reward's own, which come with the
    arm, those in which runs of one arm do. Kinds stand in the order of first appearance.
    """
    arms: dict[str, list[RunHistory]] = defaultdict(list)
    for run in runs:
        arms[run.arm].append(run)
    everywhere = {key for key in _differing(runs) if not key.startswith("reward.")}
    kinds: dict[tuple[object, ...], list[RunHistory]] = defaultdict(list)
    names: dict[str, tuple[object, ...]] = {}
    for run in runs:
        among = arms[run.arm]
        differing = sorted(everywhere | _differing(among))
        told = [f"{key}={value}" for key in differing if (value := _setting(run, key)) is not None]
        kind = (run.arm, *told, _end(run))
        if kind not in kinds:
            ends = [f"to step {_end(run)}"] if len({_end(other) for other in among}) > 1 else []
            more = [f"{len(told) - MOST_NAMED} settings more"] if len(told) > MOST_NAMED else []
            name = ", ".join([run.arm, *told[:MOST_NAMED], *more, *ends])
            names[name if name not in names else f"{name} [{len(names)}]"] = kind
        kinds[kind].append(run)
    return {name: sorted(kinds[kind], key=lambda run: run.seed) for name, kind in names.items()}


def _differing(runs: Sequence[RunHistory]) -> set[str]:
    """Settings in which those of ``runs`` that have them differ; what an older version lacks is no difference."""
    keys = set().union(*(run.settings for run in runs)) - _IN_ARM
    return {key for key in keys if len({_setting(run, key) for run in runs} - {None}) > 1}


def _setting(run: RunHistory, key: str) -> str | None:
    """The value as text, … for a part with settings of its own that is null or empty elsewhere; None: no such key."""
    if key in run.settings:
        return str(run.settings[key])
    return "…" if any(each.startswith(f"{key}.") for each in run.settings) else None


def _end(run: RunHistory) -> int:
    return run.evaluations[-1].step if run.evaluations else 0


def _over_seeds(points: Iterable[Point], metric: str, decimals: int) -> str:
    """Mean, and the range where there is one."""
    values = [point.metrics[metric] for point in points if metric in point.metrics]
    if not values:
        return MISSING
    mean, low, high = (f"{f(values):.{decimals}f}" for f in (statistics.fmean, min, max))
    return mean if low == high else f"{mean} [{low}, {high}]"


def comparison(runs: Sequence[RunHistory]) -> Cells:
    """Kinds of runs side by side: the start, and the last evaluation of each, mean and range over its seeds.

    The start is the evaluation at step 0: one for all kinds where they differ in their training alone, else one to the
    left of each.
    """
    evaluated = [run for run in runs if run.evaluations]
    kinds = alike(evaluated)
    apart = any(key in _OF_TRACES or not key.startswith(_OF_TRAINING) for key in _differing(evaluated))
    columns: list[tuple[str, list[Point]]] = [] if apart else [("start", _starts(evaluated))]
    for kind, members in kinds.items():
        columns += [("start", _starts(members))] if apart else []
        seeds = ", ".join(str(run.seed) for run in members)
        columns.append((f"{kind} (seeds {seeds})", [run.evaluations[-1] for run in members]))
    rows = []
    for task in sorted({task for run in evaluated for task in run.tasks}, reverse=True):
        for name, label, decimals in ROWS:
            metric = f"evaluation/{task}/{name}"
            if not any(metric in run.evaluations[-1].metrics for run in evaluated):
                continue
            rows.append((task, label, *(_over_seeds(points, metric, decimals) for _, points in columns)))
    steps = sorted({run.evaluations[-1].step for run in evaluated})
    title = f"Held-out problems after step {' / '.join(map(str, steps))}: mean [lowest, highest] over seeds"
    return Cells(title, ("task", "measure", *(name for name, _ in columns)), tuple(rows))


def _starts(runs: Sequence[RunHistory]) -> list[Point]:
    """Evaluations before training, of the runs that have one."""
    return [run.evaluations[0] for run in runs if run.evaluations[0].step == 0]


def difference(first: RunHistory, second: RunHistory) -> Cells | None:
    """The last evaluations of two runs and their difference, with its 95 % interval where both have a standard error.

    The problems are taken as drawn for each run on its own; the same problems in both make the interval too wide rather
    than too narrow. None where a run has no evaluation, or they share no measure.
    """
    if not first.evaluations or not second.evaluations:
        return None
    one, two = first.evaluations[-1], second.evaluations[-1]
    rows = []
    for task in sorted({*first.tasks, *second.tasks}, reverse=True):
        for name, label, decimals in ROWS:
            metric = f"evaluation/{task}/{name}"
            if metric in one.metrics and metric in two.metrics:
                figures = (_figure(one, metric, decimals), _figure(two, metric, decimals))
                rows.append((task, label, *figures, _between(one, two, metric, decimals)))
    columns = tuple(f"{run.name}, seed {run.seed} (step {run.evaluations[-1].step})" for run in (first, second))
    title = "Two runs: the last evaluations (± standard error), and the second less the first [95 % interval]"
    return Cells(title, ("task", "measure", *columns, "difference"), tuple(rows)) if rows else None


def _between(one: Point, two: Point, metric: str, decimals: int) -> str:
    change = two.metrics[metric] - one.metrics[metric]
    errors = [point.metrics.get(f"{metric}_stderr") for point in (one, two)]
    if None in errors:
        return f"{change:+.{decimals}f}"
    half = _INTERVAL * sum(error**2 for error in errors if error is not None) ** 0.5
    return f"{change:+.{decimals}f} [{change - half:+.{decimals}f}, {change + half:+.{decimals}f}]"
