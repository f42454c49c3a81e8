"""The picture of a capacity forecast: how fast the splits are, how busy the best one is, and what bounds it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tracelift_ray.plotting import COLOURS, FAINT, picture
from tracelift_ray.simulation.capacity import Forecast
from tracelift_ray.simulation.splits import SHARERS, Bound
from tracelift_ray.simulation.workload import Split

SHOWN = 8


def draw(found: Sequence[tuple[Split, Forecast]], limits: Sequence[Bound], path: Path) -> None:
    """Write a PNG of ``found``, the fastest first."""
    shown, best = found[:SHOWN], found[0][1]
    with picture(path, 1, 2, (11.5, 4.4)) as (_, ((speed, load),)):
        names = ["-".join(str(getattr(split, name)) for name in SHARERS) for split, _ in shown]
        colours = [COLOURS[0]] + [FAINT] * (len(shown) - 1)
        speed.barh(names, [each.traces_per_s for _, each in shown], color=colours)
        speed.invert_yaxis()
        speed.set(title="Fastest splits", xlabel="traces/s", ylabel="planner-executor-RM-learner")
        shares = [best.busy[name] for name in best.busy]
        bars = load.bar([name.replace("_", " ") for name in best.busy], shares, color=COLOURS[2])
        load.bar_label(bars, [f"{share:.0%}" for share in shares])
        order = ", then ".join(each.name.replace("_", " ") for each in limits) or "the longest traces"
        load.set(title=f"The fastest: bound by {order}", ylabel="share of its time or of its slots", ylim=(0, 1.1))
