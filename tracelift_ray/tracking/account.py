"""What the files of a run say of its groups and steps: lost, duplicated, unscored, and what else does not hold.

Reads ``metrics.jsonl`` and ``trajectories.jsonl`` alone, so it shares nothing with the ledger whose counts it checks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tracelift_ray.tracking.history import TRAINING
from tracelift_ray.tracking.jsonl import read_records
from tracelift_ray.tracking.run_dir import RunDirectory

_OPEN, _ENDED = ("running", "ready", "training"), ("trained", "filtered", "dropped", "failed")


@dataclass(frozen=True)
class Account:
    """The account of a run.

    Attributes:
        steps: training steps recorded.
        groups: groups whose traces are there.
        lost: groups that ended trained or filtered without their traces, or whose end nobody counted.
        duplicated: groups that are there in two steps, or hold a trace twice.
        unscored: traces with a reward and no verdict nor score behind it, or with neither reward nor mask.
        masked: traces without a reward, since a part had no result.
        broken: other rules that do not hold, each a line.
    """

    steps: int
    groups: int
    lost: int
    duplicated: int
    unscored: int
    masked: int
    broken: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.duplicated or self.unscored or self.broken)


def account_of(run: RunDirectory) -> Account:
    """The account of a run that has ended. Raises ``DataError`` for a torn file."""
    metrics = [record for _, record in read_records(run.metrics_path) if record["kind"] == TRAINING]
    steps: dict[int, set[int]] = defaultdict(set)
    traces: dict[int, list[int]] = defaultdict(list)
    unscored = masked = 0
    for _, record in read_records(run.trajectories_path):
        steps[record["group"]].add(record["step"])
        traces[record["group"]].append(record["index"])
        unscored += not _scored(record)
        masked += record["masked"] is not None
    twice = {group for group in steps if len(steps[group]) > 1 or len(set(traces[group])) < len(traces[group])}
    last = metrics[-1] if metrics else {}
    return Account(
        steps=len(metrics),
        groups=len(steps),
        lost=_lost(last, set(steps)),
        duplicated=len(twice),
        unscored=unscored,
        masked=masked,
        broken=tuple(_broken(metrics)),
    )


def _lost(last: Mapping[str, Any], seen: set[int]) -> int:
    """By the counts of the last step, and by the gaps between serials."""
    if not last:
        return 0
    counts = {state: int(last[f"groups/{state}"]) for state in (*_OPEN, *_ENDED)}
    missing = set(range(max(seen, default=-1) + 1)) - seen
    without_traces = counts["dropped"] + counts["failed"] + sum(counts[state] for state in _OPEN)
    return max(counts["trained"] + counts["filtered"] - len(seen), len(missing) - without_traces, 0)


def _scored(record: Mapping[str, Any]) -> bool:
    """Whether a reward has what it needs, and a mask no reward."""
    if record["masked"] is not None:
        return record["reward"] is None and record["advantage"] is None
    evidence = record["malformed"] or record["verdicts"] or record["fresh"] or record["rubric"]
    return record["reward"] is not None and bool(evidence)


def _broken(metrics: list[dict[str, Any]]) -> list[str]:
    broken = []
    if [record["step"] for record in metrics] != list(range(1, len(metrics) + 1)):
        broken.append("the steps are not there once and in order")
    versions = [record["stream/version"] for record in metrics]
    if versions != sorted(versions):
        broken.append("a version falls")
    for record in metrics:
        total = sum(record[f"groups/{state}"] for state in (*_OPEN, *_ENDED))
        if record["groups/submitted"] != total:
            broken.append(f"step {record['step']}: {record['groups/submitted']:.0f} submitted, {total:.0f} accounted")
    return broken
