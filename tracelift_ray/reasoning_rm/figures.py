"""The pictures of a trained reward model and of a report on one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracelift_ray.plotting import COLOURS, FAINT, picture, smoothed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tracelift_ray.reasoning_rm.report.drift import Drift, Window
    from tracelift_ray.reasoning_rm.report.rankings import Ranking
    from tracelift_ray.reasoning_rm.report.report import RmReport
    from tracelift_ray.reasoning_rm.training.finish import TrainingResult
    from tracelift_ray.reasoning_rm.training.metrics import Calibration

_MEASURES = (("score", "RM score"), ("success", "success"), ("uplift", "uplift"), ("judge", "judge"))
_ORDERS = (
    ("success_order", "success"),
    ("uplift_order", "uplift"),
    ("judge_order", "judge"),
    ("success_within", "success, in a group"),
)


def draw_training(result: TrainingResult, path: Path) -> None:
    """Loss, held-out accuracy while training, pair accuracy by kind of flaw, and calibration."""
    with picture(path, 2, 2, (11.5, 7.6)) as (_, ((loss, accuracy), (kinds, reliability))):
        loss.plot(range(1, len(result.losses) + 1), smoothed(result.losses), color=COLOURS[0])
        loss.set(title="Training loss", xlabel="step")
        checked = [evaluation.step for evaluation in result.evaluations]
        for name, colour in (("pair_accuracy", COLOURS[0]), ("group_accuracy", COLOURS[1])):
            values = [getattr(evaluation, name) for evaluation in result.evaluations]
            accuracy.plot(checked, values, "o-", color=colour, label=name.replace("_", " "))
        accuracy.axvline(result.best_step, color=FAINT, linestyle=":", label="kept")
        accuracy.legend(loc="lower right")
        accuracy.set(title="Held out, while training", xlabel="step", ylim=(0, 1.02))
        _draw_kinds(kinds, {"saved model": {kind: share for kind, (share, _) in result.heldout.kind_accuracy.items()}})
        _draw_reliability(reliability, result.heldout.calibration)


def draw_report(report: RmReport, path: Path) -> None:
    """Pairs by ranking and by kind of flaw and calibration on held-out groups; scores and orders over the run."""
    rows = (report.heldout is not None) + (report.drift is not None)
    with picture(path, rows, 3, (15, 4.6 * rows)) as (_, panels):
        if report.heldout is not None:
            pairs, kinds, reliability = panels[0]
            rankings = report.heldout.rankings
            _draw_rankings(pairs, rankings)
            _draw_kinds(kinds, {ranking.name: ranking.kinds for ranking in rankings})
            _draw_reliability(reliability, report.heldout.metrics.calibration)
        if report.drift is not None:
            means, orders, empty = panels[-1]
            _draw_means(means, report.drift)
            _draw_orders(orders, report.drift.windows)
            empty.axis("off")


def _draw_kinds(panel: Axes, models: dict[str, dict[str, float]]) -> None:
    """Bars of pair accuracy by kind of flaw, a colour for each model."""
    kinds = sorted({kind for shares in models.values() for kind in shares})
    height = 0.8 / len(models)
    for number, (name, shares) in enumerate(models.items()):
        places = [place + 0.4 - (number + 0.5) * height for place in range(len(kinds))]
        panel.barh(places, [shares.get(kind, 0.0) for kind in kinds], height, color=COLOURS[number], label=name)
    panel.set_yticks(range(len(kinds)), [kind.replace("_", " ") for kind in kinds])
    panel.axvline(0.5, color=FAINT, linestyle=":")
    panel.grid(False, axis="y")
    colours = "" if len(models) == 1 else "; colours as on the left"
    title = "The same by kind of flaw" if colours else "Pairs by kind of flaw"
    panel.set(title=title, xlabel=f"0.5: by chance{colours}", xlim=(0, 1))


def _draw_reliability(panel: Axes, calibration: Calibration) -> None:
    """Judged total over predicted total, the size of a point by the number of its traces."""
    most = max(found.count for found in calibration.bins)
    predicted, judged = [b.predicted for b in calibration.bins], [b.judged for b in calibration.bins]
    panel.plot([0, 1], [0, 1], color=FAINT, linestyle=":")
    panel.plot(predicted, judged, color=COLOURS[0])
    panel.scatter(predicted, judged, [20 + 180 * b.count / most for b in calibration.bins], color=COLOURS[0])
    panel.set(title=f"Calibration of the total (ECE {calibration.error:.3f})", xlim=(0, 1.02), ylim=(0, 1.02))
    panel.set(xlabel="predicted total", ylabel="judged total")


def _draw_rankings(panel: Axes, rankings: Sequence[Ranking]) -> None:
    pairs = [ranking.pairs for ranking in rankings]
    values = [share.value for share in pairs]
    errors = [[share.value - share.low for share in pairs], [share.high - share.value for share in pairs]]
    names = [ranking.name for ranking in rankings]
    panel.bar(names, values, yerr=errors, color=COLOURS[: len(names)], ecolor=FAINT, capsize=3)
    panel.axhline(0.5, color=FAINT, linestyle=":")
    panel.grid(False, axis="x")
    panel.set(title="Pairs in the right order", xlabel="with 95 % intervals (0.5: by chance)", ylim=(0, 1))


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
    panel.set(title="The planner's traces during training", xlabel="step (shaded: the RM's score outruns another)")


def _draw_orders(panel: Axes, windows: Sequence[Window]) -> None:
    for number, (key, name) in enumerate(_ORDERS, start=1):
        places, values = _known(windows, key)
        if values:
            panel.plot(places, values, "o-", color=COLOURS[number], label=f"with {name}")
    panel.axhline(0.0, color=FAINT, linestyle=":")
    if panel.get_legend_handles_labels()[0]:
        panel.legend(fontsize=8.5)
    panel.set(title="Correlation of the RM's score", xlabel="step", ylim=(-1, 1))


def _known(windows: Sequence[Window], key: str) -> tuple[list[float], list[Any]]:
    """The middle steps of the windows that have the value ``key``, and these values."""
    having = [window for window in windows if getattr(window, key) is not None]
    return [(w.first_step + w.last_step) / 2 for w in having], [getattr(w, key) for w in having]
