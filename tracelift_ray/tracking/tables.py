"""The tables of a report: before and after for one run, arms side by side for several.

A table is plain cells, so that the terminal and Markdown show the same. Figures are those of the held-out
evaluations; a hyphen stands where a run has none.
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
            table.add_column(Text(column), justify="left" if index < 2 else "right")
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
    return Cells(title, ("task", "measure", *((f"step {last.step}",) if single else columns)), tuple(rows))


def by_arm(runs: Iterable[RunHistory]) -> dict[str, list[RunHistory]]:
    """Runs of each arm, in order of their seeds; arms in the order of first appearance."""
    arms: dict[str, list[RunHistory]] = defaultdict(list)
    for run in runs:
        arms[run.arm].append(run)
    return {arm: sorted(members, key=lambda run: run.seed) for arm, members in arms.items()}


def _over_seeds(points: Iterable[Point], metric: str, decimals: int) -> str:
    """Mean, and the range where there is one."""
    values = [point.metrics[metric] for point in points if metric in point.metrics]
    if not values:
        return MISSING
    mean, low, high = (f"{f(values):.{decimals}f}" for f in (statistics.fmean, min, max))
    return mean if low == high else f"{mean} [{low}, {high}]"


def comparison(runs: Sequence[RunHistory]) -> Cells:
    """Arms side by side: the start, and the last evaluation of every arm, mean and range over its seeds."""
    evaluated = [run for run in runs if run.evaluations]
    arms = by_arm(evaluated)
    heads = [f"{arm} (seeds {', '.join(str(run.seed) for run in members)})" for arm, members in arms.items()]
    rows = []
    for task in sorted({task for run in evaluated for task in run.tasks}, reverse=True):
        for name, label, decimals in ROWS:
            metric = f"evaluation/{task}/{name}"
            if not any(metric in run.evaluations[-1].metrics for run in evaluated):
                continue
            start = _over_seeds((run.evaluations[0] for run in evaluated), metric, decimals)
            ends = ((run.evaluations[-1] for run in members) for members in arms.values())
            rows.append((task, label, start, *(_over_seeds(points, metric, decimals) for points in ends)))
    steps = sorted({run.evaluations[-1].step for run in evaluated})
    title = f"Held-out problems after step {' / '.join(map(str, steps))}: mean [lowest, highest] over seeds"
    return Cells(title, ("task", "measure", "start", *heads), tuple(rows))
