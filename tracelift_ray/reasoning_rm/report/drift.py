"""What a reward model said of a planner's traces over a training run, beside what the traces were worth.

A reward model that is optimised against goes on rising when what it stands for has stopped. The run is cut into windows
of as many steps each; in every window stand the mean score, success, uplift and judge's score, and how well the score
orders the window's traces by the others.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracelift_ray.errors import DataError
from tracelift_ray.reasoning_rm.training.metrics import centred, correlation, rank_correlation
from tracelift_ray.tracking.jsonl import read_records
from tracelift_ray.types import Problem

#: A change counts where it is larger than this many standard errors.
_SURE = 2.0
#: What the score is held against.
MEASURES = ("success", "uplift", "judge")


@dataclass(frozen=True)
class RunTrace:
    """A trace of a training run that was scored and executed.

    Attributes:
        group: the serial number of its group, the traces sampled for one problem together.
        success, uplift: measured with the executor; ``uplift`` is None in arms that measure none.
        score: the RM's q at the time.
        judge: an independent judge's score in [0, 1]; None where it was not asked.
    """

    step: int
    group: int
    problem: Problem
    reasoning: str
    score: float
    success: float
    uplift: float | None
    judge: float | None = None


@dataclass(frozen=True)
class Mean:
    """A mean and its standard error."""

    value: float
    error: float


@dataclass(frozen=True)
class Window:
    """Some consecutive steps.

    Attributes:
        success_order, uplift_order, judge_order: rank correlation of the score with the other number over the window's
            traces, in [-1, 1]; None where one of the two is constant or missing.
        success_within: correlation of the score with success among the traces of a group, after each group's means are
            taken off: what advantages are made of. That with uplift is the same.
    """

    first_step: int
    last_step: int
    traces: int
    score: Mean
    success: Mean
    uplift: Mean | None
    judge: Mean | None
    success_order: float | None
    success_within: float | None
    uplift_order: float | None
    judge_order: float | None


@dataclass(frozen=True)
class Drift:
    """The windows of a run in order, and what they say.

    Attributes:
        outrun: for each measure, the first window in which the score is surely above its first window's while the
            measure is surely below its own best so far; None where there is no such window.
    """

    windows: tuple[Window, ...]
    outrun: dict[str, int | None]


def read_run(run_dir: str | Path) -> list[RunTrace]:
    """The traces of a run that have an RM score and were executed, in order of their steps.

    Raises:
        DataError: there is no such run, its records are broken, or it has no such traces.
    """
    path = Path(run_dir) / "trajectories.jsonl"
    if not path.is_file():
        raise DataError(f"run={run_dir} has no trajectories.jsonl; give the directory of a training run")
    found = [trace for _, record in read_records(path) if (trace := _trace(record)) is not None]
    if not found:
        raise DataError(f"{path} has no trace with an RM score and executor samples; the run's arm uses no rubric")
    return found


def measure_drift(traces: Sequence[RunTrace], windows: int) -> Drift:
    """At most ``windows`` windows, each of whole steps.

    Args:
        traces: at least one, in order of their steps.
    """
    steps = sorted({trace.step for trace in traces})
    count = min(windows, len(steps))
    bounds = [steps[len(steps) * i // count] for i in range(count)]
    parts: list[list[RunTrace]] = [[] for _ in range(count)]
    for trace in traces:
        parts[sum(trace.step >= bound for bound in bounds) - 1].append(trace)
    measured = tuple(_window(part) for part in parts)
    return Drift(measured, {name: _outrun(measured, name) for name in MEASURES})


def _outrun(windows: Sequence[Window], name: str) -> int | None:
    best: Mean | None = None
    for number, window in enumerate(windows):
        now: Mean | None = getattr(window, name)
        if now is None:
            return None
        if best is not None and _below(windows[0].score, window.score) and _below(now, best):
            return number
        if best is None or now.value > best.value:
            best = now
    return None


def _below(lower: Mean, higher: Mean) -> bool:
    return higher.value - lower.value > _SURE * math.hypot(lower.error, higher.error)


def _window(traces: Sequence[RunTrace]) -> Window:
    measured: dict[str, Any] = {}
    for name in MEASURES:
        known = [trace for trace in traces if getattr(trace, name) is not None]
        values = [getattr(trace, name) for trace in known]
        measured[name] = _mean(values) if values else None
        measured[f"{name}_order"] = rank_correlation([trace.score for trace in known], values)
    return Window(
        first_step=traces[0].step,
        last_step=traces[-1].step,
        traces=len(traces),
        score=_mean([trace.score for trace in traces]),
        success_within=_within_groups(traces),
        **measured,
    )


def _within_groups(traces: Sequence[RunTrace]) -> float | None:
    by_group: defaultdict[int, list[RunTrace]] = defaultdict(list)
    for trace in traces:
        by_group[trace.group].append(trace)
    groups = by_group.values()
    scores = centred([[trace.score for trace in group] for group in groups])
    return correlation(scores, centred([[trace.success for trace in group] for group in groups]))


def _mean(values: Sequence[float]) -> Mean:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return Mean(statistics.fmean(values), spread / math.sqrt(len(values)))


def _trace(record: Mapping[str, Any]) -> RunTrace | None:
    """The record's trace; None where it has no score or was never executed."""
    verdicts = [*record["verdicts"], *([record["fresh"]] if record["fresh"] else [])]
    if record["masked"] or record["rubric"] is None or record["reasoning"] is None or not verdicts:
        return None
    task: str = record["task"]
    problem = Problem(record["problem"], task, record["statement"], record["task_type"])
    success = statistics.fmean(verdict["outcome"] == "passed" for verdict in verdicts)
    score = record["rubric"]["score"]
    return RunTrace(record["step"], record["group"], problem, record["reasoning"], score, success, record["uplift"])
