"""The picture of a report on a reward model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracelift_ray.plotting import COLOURS, FAINT, picture
from tracelift_ray.reasoning_rm.report.drift import Drift, Window
from tracelift_ray.reasoning_rm.report.rankings import Ranking
from tracelift_ray.reasoning_rm.training.figures import draw_kinds, draw_reliability, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tracelift_ray.reasoning_rm.report.report import RmReport

_MEASURES = (("score", "RM score"), ("success", "success"), ("uplift", "uplift"), ("judge", "judge"))
_ORDERS = (
    ("success_order", "success"),
    ("uplift_order", "uplift"),
    ("judge_order", "judge"),
    ("success_within", "success, in a group"),
)


def draw_report(report: RmReport, path: Path) -> None:
    """Pairs by ranking and by kind of flaw and calibration on held-out groups; scores and orders over the run."""
    rows = (report.heldout is not None) + (report.drift is not None)
    with picture(path, rows, 3, (15, 4.6 * rows)) as (_, drawn):
        panels = [panel for row in drawn for panel in row]
        if report.heldout is not None:
            rankings = report.heldout.rankings
            _draw_rankings(panels[0], rankings)
            draw_kinds(panels[1], {ranking.name: ranking.kinds for ranking in rankings})
            draw_reliability(panels[2], report.heldout.metrics.calibration)
        if report.drift is not None:
            _draw_means(panels[-3], report.drift)
            _draw_orders(panels[-2], report.drift.windows)
            panels[-1].axis("off")


def _draw_rankings(panel: Axes, rankings: Sequence[Ranking]) -> None:
    pairs = [ranking.pairs for ranking in rankings]
    values = [share.value for share in pairs]
    errors = [[share.value - share.low for share in pairs], [share.high - share.value for share in pairs]]
    names = [ranking.name for ranking in rankings]
    panel.bar(names, values, yerr=errors, color=COLOURS[: len(names)], ecolor=FAINT, capsize=3)
    panel.axhline(0.5, color=FAINT, linestyle=":")
    panel.set_ylim(0, 1)
    panel.grid(False, axis="x")
    label(panel, "Pairs in the right order", "with 95 % intervals (0.5: by chance)")


def _draw_means(panel: Axes, drift: Drift) -> None:
    windows = drift.windows
    for number, (key, name) in enumerate(_MEASURES):
        places, means = _known(windows, key)
        if means:
            values, errors = [mean.value for mean in means], [mean.error for mean in means]
            panel.errorbar(places, values, errors, fmt="o-", color=COLOURS[number], label=name, capsize=2)
    for number in {found for found in drift.outrun.values() if found is not None}:
        panel.axvspan(windows[number].first_step, windows[-1].last_step, color=COLOURS[1], alpha=0.08)
    panel.legend(fontsize=8.5)
    label(panel, "The planner's traces during training", "step (shaded: the RM's score outruns another)")


def _known(windows: Sequence[Window], key: str) -> tuple[list[float], list[Any]]:
    """The middle steps of the windows that have the value ``key``, and these values."""
    having = [window for window in windows if getattr(window, key) is not None]
    return [(w.first_step + w.last_step) / 2 for w in having], [getattr(w, key) for w in having]


def _draw_orders(panel: Axes, windows: Sequence[Window]) -> None:
    for number, (key, name) in enumerate(_ORDERS, start=1):
        places, values = _known(windows, key)
        if values:
            panel.plot(places, values, "o-", color=COLOURS[number], label=f"with {name}")
    panel.axhline(0.0, color=FAINT, linestyle=":")
    panel.set_ylim(-1, 1)
    if panel.get_legend_handles_labels()[0]:
        panel.legend(fontsize=8.5)
    label(panel, "Correlation of the RM's score", "step")
