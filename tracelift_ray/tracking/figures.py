"""The pictures of a report.

One run: held-out accuracy with and without a trace, uplift, trace validity or RM score, and training reward, a colour
for each task. Several runs: a row of panels for each task, a colour for each arm, the mean over seeds with a band from
the lowest to the highest.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracelift_ray.plotting import COLOURS, picture, smoothed
from tracelift_ray.tracking.history import RunHistory
from tracelift_ray.tracking.tables import alike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_EVALUATED = {
    "accuracy": "Held-out system accuracy",
    "uplift": "Held-out uplift",
    "trace_validity": "Held-out trace validity",
    "rm_score": "Held-out RM score",
}


def _finish(panel: Axes, title: str, rate: bool) -> None:
    panel.set_title(title)
    panel.set_xlabel("training step")
    panel.margins(x=0.02)
    if rate:
        panel.set_ylim(-0.02, 1.02)
    if not panel.lines:
        panel.text(0.5, 0.5, "not measured", ha="center", va="center", transform=panel.transAxes, color="#9aa0a8")


def _zero_line(panel: Axes) -> None:
    """Drawn as a span, so that it counts as no data."""
    panel.axhspan(0, 0, color="#9aa0a8", linewidth=1)


def _is_measured(runs: Sequence[RunHistory], name: str) -> bool:
    return any(run.series(f"evaluation/{task}/{name}")[0] for run in runs for task in run.tasks)


def _legend_below(figure: Figure, panel: Axes) -> None:
    handles, labels = panel.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))


def draw_run(run: RunHistory, path: Path) -> None:
    """Curves of one run, as a PNG of about 1400 by 1000 pixels."""
    with picture(path, 2, 2, (10.0, 7.2)) as (figure, ((accuracy, uplift), (quality, reward))):
        figure.suptitle(f"{run.name}: {run.arm}, seed {run.seed}", fontweight="bold", fontsize=13)
        judged = "trace_validity" if _is_measured([run], "trace_validity") else "rm_score"
        for task, colour in zip(run.tasks, COLOURS, strict=False):
            prefix = f"evaluation/{task}"
            accuracy.plot(*run.series(f"{prefix}/accuracy"), color=colour, marker="o", label=f"{task}")
            accuracy.plot(
                *run.series(f"{prefix}/baseline"), color=colour, linestyle=":", label=f"{task}, without a trace"
            )
            uplift.plot(*run.series(f"{prefix}/uplift"), color=colour, marker="o")
            quality.plot(*run.series(f"{prefix}/{judged}"), color=colour, marker="o")
            steps, values = run.series(f"reward/{task}/mean")
            reward.plot(steps, values, color=colour, alpha=0.25, linewidth=1)
            reward.plot(steps, smoothed(values), color=colour)
        _zero_line(uplift)
        _finish(accuracy, _EVALUATED["accuracy"], rate=True)
        _finish(uplift, _EVALUATED["uplift"], rate=False)
        _finish(quality, _EVALUATED[judged], rate=True)
        _finish(reward, "Training reward (batch mean)", rate=False)
        _legend_below(figure, accuracy)


def _plot_band(panel: Axes, runs: Sequence[RunHistory], metric: str, colour: str, label: str) -> None:
    """Mean over the runs that have a step, with a band from the lowest to the highest."""
    values: dict[int, list[float]] = defaultdict(list)
    for run in runs:
        for step, value in zip(*run.series(metric), strict=True):
            values[step].append(value)
    steps = sorted(values)
    if not steps:
        return
    panel.plot(steps, [statistics.fmean(values[s]) for s in steps], color=colour, marker="o", label=label)
    if len(runs) > 1:
        panel.fill_between(
            steps, [min(values[s]) for s in steps], [max(values[s]) for s in steps], color=colour, alpha=0.18, lw=0
        )


def draw_comparison(runs: Sequence[RunHistory], path: Path) -> None:
    """Curves of several runs, arm by arm; a row of panels for each task."""
    tasks = sorted({task for run in runs for task in run.tasks}, reverse=True)
    names = [name for name in _EVALUATED if _is_measured(runs, name)]
    if not tasks or not names:
        raise ValueError("none of the runs holds an evaluation, so there is nothing to draw")
    size = (4.0 * len(names), 3.5 * len(tasks) + 0.5)
    with picture(path, len(tasks), len(names), size) as (figure, rows):
        for task, row in zip(tasks, rows, strict=True):
            for name, panel in zip(names, row, strict=True):
                for (kind, members), colour in zip(alike(runs).items(), COLOURS * len(runs), strict=False):
                    label = f"{kind} ({len(members)} seed{'s' if len(members) > 1 else ''})"
                    _plot_band(panel, members, f"evaluation/{task}/{name}", colour, label)
                if name == "uplift":
                    _zero_line(panel)
                _finish(panel, f"{task}: {_EVALUATED[name].removeprefix('Held-out ')}", rate=name != "uplift")
        figure.suptitle("Held-out problems by arm; bands from the lowest to the highest seed", fontweight="bold")
        _legend_below(figure, rows[0][0])
