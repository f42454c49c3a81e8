"""The tables of a report: before and after for one run, arms side by side for several.

A table is plain cells, so that the terminal and Markdown show the same. Figures are those of the held-out
evaluations; a hyphen stands where a run has none.
"""

from __future__ import annotations

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
    """A table as text; the first two columns are the task and the name of the measure, the others figures."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def rich(self) -> Table:
        """For the terminal."""
        table = Table(title=Text(self.title), title_justify="left", title_style="bold")
        for index, column in enumerate(self.columns):
            table.add_column(Text(column), justify="left" if index < 2 else "right")
        for row, following in zip(self.rows, [*self.rows[1:], *self.rows[-1:]], strict=True):
            table.add_row(*map(Text, row), end_section=following[0] != row[0])
        return table

    def markdown(self) -> str:
        """For a file."""
        rule = ("---", "---", *["--:"] * (len(self.columns) - 2))
        lines = [self.columns, rule, *self.rows]
        return f"**{self.title}**\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _figure(point: Point, task: str, name: str, decimals: int) -> str:
    value = point.metrics.get(f"evaluation/{task}/{name}")
    if value is None:
        return MISSING
    error = point.metrics.get(f"evaluation/{task}/{name}_stderr")
    return f"{value:.{decimals}f}" + ("" if error is None else f" ± {error:.{decimals}f}")


def before_after(run: RunHistory) -> Cells | None:
    """First against last evaluation, every metric of every task; None before there is an evaluation."""
    if not run.evaluations:
        return None
    first, last = run.evaluations[0], run.evaluations[-1]
    title = f"Held-out problems, {run.name}: {run.arm}, seed {run.seed}"
    measured = [(task, row) for task in run.tasks for row in ROWS if f"evaluation/{task}/{row[0]}" in last.metrics]
    columns = ["task", "measure", f"step {last.step}"]
    if first is not last:
        columns[2:] = [f"before (step {first.step})", f"after (step {last.step})", "change"]
    rows = []
    for task, (name, label, decimals) in measured:
        figures = [_figure(last, task, name, decimals)]
        if first is not last:
            before, after = first.metrics.get(f"evaluation/{task}/{name}"), last.metrics[f"evaluation/{task}/{name}"]
            change = MISSING if before is None else f"{after - before:+.{decimals}f}"
            figures = [_figure(first, task, name, decimals), *figures, change]
        rows.append((task, label, *figures))
    return Cells(title, tuple(columns), tuple(rows))


def by_arm(runs: Iterable[RunHistory]) -> dict[str, list[RunHistory]]:
    """Runs of each arm, in order of their seeds; arms in the order of first appearance."""
    arms: dict[str, list[RunHistory]] = defaultdict(list)
    for run in runs:
        arms[run.arm].append(run)
    return {arm: sorted(members, key=lambda run: run.seed) for arm, members in arms.items()}


def _over_seeds(values: Sequence[float], decimals: int) -> str:
    """Mean, and the range where there is one."""
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
            at_start = [p.metrics[metric] for r in evaluated if metric in (p := r.evaluations[0]).metrics]
            after = [
                _over_seeds(
                    [p.metrics[metric] for r in members if metric in (p := r.evaluations[-1]).metrics], decimals
                )
                for members in arms.values()
            ]
            rows.append((task, label, _over_seeds(at_start, decimals), *after))
    steps = sorted({run.evaluations[-1].step for run in evaluated})
    title = f"Held-out problems after step {' / '.join(map(str, steps))}: mean [lowest, highest] over seeds"
    return Cells(title, ("task", "measure", "start", *heads), tuple(rows))
