"""The picture of a trained reward model, and the panels that it shares with the picture of a report on one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tracelift_ray.plotting import COLOURS, FAINT, picture, smoothed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tracelift_ray.reasoning_rm.training.finish import TrainingResult
    from tracelift_ray.reasoning_rm.training.measures import Calibration


def draw_training(result: TrainingResult, path: Path) -> None:
    """Loss, held-out accuracy while training, pair accuracy by kind of flaw, and calibration."""
    with picture(path, 2, 2, (11.5, 7.6)) as (_, rows):
        panels = [*rows[0], *rows[1]]
        steps = range(1, len(result.losses) + 1)
        panels[0].plot(steps, smoothed(result.losses), color=COLOURS[0])
        label(panels[0], "Training loss", "step")
        checked = [evaluation.step for evaluation in result.evaluations]
        for name, colour in (("pair_accuracy", COLOURS[0]), ("group_accuracy", COLOURS[1])):
            values = [getattr(evaluation, name) for evaluation in result.evaluations]
            panels[1].plot(checked, values, "o-", color=colour, label=name.replace("_", " "))
        panels[1].axvline(result.best_step, color=FAINT, linestyle=":", label="kept")
        panels[1].set_ylim(0, 1.02)
        panels[1].legend(loc="lower right")
        label(panels[1], "Held out, while training", "step")
        kinds = {kind: share for kind, (share, _) in result.heldout.kind_accuracy.items()}
        draw_kinds(panels[2], {"saved model": kinds})
        draw_reliability(panels[3], result.heldout.calibration)


def label(panel: Axes, title: str, below: str) -> None:
    """The panel's title and what its horizontal axis shows."""
    panel.set_title(title)
    panel.set_xlabel(below)


def draw_kinds(panel: Axes, models: dict[str, dict[str, float]]) -> None:
    """Bars of pair accuracy by kind of flaw, a colour for each model."""
    kinds = sorted({kind for shares in models.values() for kind in shares})
    height = 0.8 / len(models)
    for number, (name, shares) in enumerate(models.items()):
        places = [place + 0.4 - (number + 0.5) * height for place in range(len(kinds))]
        panel.barh(places, [shares.get(kind, 0.0) for kind in kinds], height, color=COLOURS[number], label=name)
    panel.set_yticks(range(len(kinds)), [kind.replace("_", " ") for kind in kinds])
    panel.axvline(0.5, color=FAINT, linestyle=":")
    panel.set_xlim(0, 1)
    panel.grid(False, axis="y")
    colours = "" if len(models) == 1 else "; colours as on the left"
    label(panel, "The same by kind of flaw" if colours else "Pairs by kind of flaw", f"0.5: by chance{colours}")


def draw_reliability(panel: Axes, calibration: Calibration) -> None:
    """Judged total over predicted total, the size of a point by the number of its traces."""
    most = max(found.count for found in calibration.bins)
    panel.plot([0, 1], [0, 1], color=FAINT, linestyle=":")
    panel.plot([b.predicted for b in calibration.bins], [b.judged for b in calibration.bins], color=COLOURS[0])
    panel.scatter(
        [b.predicted for b in calibration.bins],
        [b.judged for b in calibration.bins],
        [20 + 180 * b.count / most for b in calibration.bins],
        color=COLOURS[0],
    )
    panel.set_xlim(0, 1.02)
    panel.set_ylim(0, 1.02)
    panel.set_ylabel("judged total")
    label(panel, f"Calibration of the total (ECE {calibration.error:.3f})", "predicted total")
