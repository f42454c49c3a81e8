"""A picture of where a step's time goes, from the timeline that a run wrote::

    python -m launch.train experiment=quickstart total_steps=10 tracking.timeline=true evaluation=off name=timeline
    python -m benchmarks.step_picture runs/timeline docs/assets/step_timeline.png

Shows the last two steps: the stages of the loop as bars, and the calls that each pool held at every moment.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracelift_ray.plotting import COLOURS, picture
from tracelift_ray.tracking.timeline import LOOP

STEPS = 2
POOLS = ("planner", "executor", "verifier", "reasoning_rm")


@dataclass(frozen=True)
class Bar:
    """A span of a track, in seconds from the begin of the timeline."""

    process: str
    track: str
    name: str
    since: float
    until: float


def bars(events: Sequence[dict[str, Any]]) -> list[Bar]:
    """The spans of Chrome's trace events, with the names of their processes and tracks."""
    names = [each for each in events if each["ph"] == "M" and "tid" in each]
    named = {(each["pid"], each["tid"], each["name"]): each["args"]["name"] for each in names}
    return [
        Bar(
            named[each["pid"], 0, "process_name"],
            named[each["pid"], each["tid"], "thread_name"],
            each["name"],
            each["ts"] / 1e6,
            (each["ts"] + each["dur"]) / 1e6,
        )
        for each in events
        if each["ph"] == "X"
    ]


def in_flight(spans: Sequence[Bar], begin: float, end: float) -> tuple[list[float], list[int]]:
    """How many spans there are from each moment on at which that changes."""
    changes = [(max(begin, span.since), 1) for span in spans if span.until > begin and span.since < end]
    changes += [(min(end, span.until), -1) for span in spans if span.until > begin and span.since < end]
    at, counts, held = [begin], [0], 0
    for moment, change in sorted(changes):
        held += change
        at.append(moment)
        counts.append(held)
    return [*at, end], [*counts, 0]


def draw(spans: Sequence[Bar], path: Path) -> None:
    """The picture of the last steps."""
    of_loop = sorted((span for span in spans if span.process == LOOP), key=lambda each: each.since)
    steps = [span for span in of_loop if span.track == "steps"]
    begin, end = steps[-STEPS].since, steps[-1].until
    stages = [span for span in of_loop if span.track == "stages" and span.until > begin]
    names = list(dict.fromkeys(span.name for span in stages))
    with picture(path, 1 + len(POOLS), 1, (10.0, 8.0)) as (_, axes):
        loop, *panels = [row[0] for row in axes]
        loop.set_title("the loop: stages of " + " and ".join(span.name for span in steps[-STEPS:]))
        for span in stages:
            since, colour = max(begin, span.since), COLOURS[names.index(span.name) % len(COLOURS)]
            loop.barh(len(names) - names.index(span.name), span.until - since, left=since - begin, color=colour)
        loop.set_yticks(range(len(names), 0, -1), names)
        for axis, pool, colour in zip(panels, POOLS, COLOURS, strict=False):
            at, counts = in_flight([span for span in spans if span.process == f"pool {pool}"], begin, end)
            axis.set_title(f"{pool}: calls in flight")
            axis.fill_between([each - begin for each in at], counts, step="post", color=colour, alpha=0.7, linewidth=0)
            axis.set_ylim(bottom=0)
        for axis in (loop, *panels):
            axis.set_xlim(0, end - begin)
            for span in steps[-STEPS:]:
                axis.axvline(span.until - begin, color="black", linewidth=0.8)
        panels[-1].set_xlabel("seconds")


def main() -> None:
    """Read the timeline, write the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    timeline = options.run / "timeline.json.gz"
    if not timeline.exists():
        raise SystemExit(f"{timeline} is not there: train with tracking.timeline=true")
    draw(bars(json.loads(gzip.decompress(timeline.read_bytes()))["traceEvents"]), options.out)
    print(options.out)


if __name__ == "__main__":
    main()
