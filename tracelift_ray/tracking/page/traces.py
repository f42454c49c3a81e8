"""The traces of runs as compact data for the reader of a report: every text once, the rest as numbers and indices.

Untrusted text never becomes markup: it is compressed in the page (``packing.py``), and the reader puts it into text
nodes alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args

from tracelift_ray.tasks.table import TASKS
from tracelift_ray.tracking.history import RunHistory
from tracelift_ray.tracking.jsonl import read_records
from tracelift_ray.types import Outcome

#: Traces of a page at most; of longer runs whole groups are taken, evenly over the run.
MOST_TRACES = 20_000
#: Longer texts are cut.
MOST_CHARS = 6_000
#: Characters of all texts of a page at most, equal ones counted once; beyond them there are fewer groups, evenly over
#: the run. They hold 20,000 traces of 1,000 characters in groups of 4, with four answers of 400 to each.
MOST_TEXT = 64_000_000


class Texts:
    """Texts by number, each kept once."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self.characters = 0
        self._numbers: dict[str, int] = {}

    def number(self, text: str | None) -> int:
        """The number of a text; -1 where there is none."""
        if text is None:
            return -1
        if len(text) > MOST_CHARS:
            text = f"{text[:MOST_CHARS]}… [{len(text) - MOST_CHARS} more characters]"
        found = self._numbers.setdefault(text, len(self.all))
        if found == len(self.all):
            self.all.append(text)
            self.characters += len(text)
        return found


def traces_data(runs: Sequence[RunHistory], most_text: int = MOST_TEXT) -> dict[str, Any]:
    """What the reader reads.

    Returns:
        ``runs``, ``texts``, ``dimensions`` of each task's rubric, ``outcomes`` of a verification in their order,
        ``groups`` (in the order of ``_group``), and ``total``, the groups that the runs have in all.
    """
    everything, total = _thinned((number, group) for number, run in enumerate(runs) for group in read_groups(run))
    most = MOST_TRACES
    while True:
        texts = Texts()
        groups = [_group(number, runs[number], group, texts) for number, group in evenly(everything, most)]
        if texts.characters <= most_text or len(groups) == 1:
            break
        held = sum(len(group[_TRACES]) for group in groups)
        most = min(held - 1, held * most_text // texts.characters)
    return {
        "runs": [f"{run.name}: {run.arm}, seed {run.seed}" for run in runs],
        "dimensions": {name: list(task.dimensions) for name, task in TASKS.items()},
        "outcomes": list(get_args(Outcome)),
        "total": total,
        "groups": groups,
        "texts": texts.all,
    }


def _thinned(groups: Iterable[tuple[int, list[Any]]]) -> tuple[list[tuple[int, list[Any]]], int]:
    """Every n-th group, n as small as memory allows, and how many groups there are."""
    kept: list[tuple[int, list[Any]]] = []
    held, every, total = 0, 1, 0
    for group in groups:
        if total % every == 0:
            kept.append(group)
            held += len(group[1])
        total += 1
        if held > 2 * MOST_TRACES:
            kept, every = kept[::2], 2 * every
            held = sum(len(traces) for _, traces in kept)
    return kept, total


def read_groups(run: RunHistory) -> Iterator[list[dict[str, Any]]]:
    """The records of a run's ``trajectories.jsonl``, group by group; none where there is no such file."""
    path = run.path / "trajectories.jsonl"
    group: list[dict[str, Any]] = []
    for _, record in read_records(path) if path.is_file() else ():
        if group and (record["step"], record["group"]) != (group[0]["step"], group[0]["group"]):
            yield group
            group = []
        group.append(record)
    if group:
        yield group


def evenly(groups: Sequence[tuple[int, list[Any]]], most: int = MOST_TRACES) -> Iterable[tuple[int, list[Any]]]:
    """All groups, or as many of them, evenly spaced, as hold about ``most`` traces."""
    total = sum(len(group) for _, group in groups)
    if total <= most:
        return groups
    kept = max(1, len(groups) * most // total)
    return [groups[i * len(groups) // kept] for i in range(kept)]


#: Where a group has its traces.
_TRACES = 9


def _group(number: int, run: RunHistory, records: list[dict[str, Any]], texts: Texts) -> list[Any]:
    """Run, step, serial, problem id, task, statement, baseline, its successes and samples, traces, its verdicts.

    The last are of the samples without a trace; empty where they were not kept, as in records of older versions.
    """
    first = records[0]
    version = _version_before(run, first["step"])
    return [
        number,
        first["step"],
        first["group"],
        texts.number(first["problem"]),
        first["task"],
        texts.number(first["statement"]),
        _short(first["baseline"]),
        first.get("baseline_successes"),
        first.get("baseline_samples"),
        [_trace(record, version, texts) for record in records],
        [_verdict(each, texts) for each in first.get("baseline_verdicts", ())],
    ]


def _trace(record: dict[str, Any], version: int | None, texts: Texts) -> list[Any]:
    """Text, reward, advantage, uplift, staleness, tokens, malformed, masked, leaked, rubric, verdicts, fresh."""
    stale = None if version is None else max(0, version - record["oldest_version"])
    rubric = record["rubric"]
    shown = record.get("text") or record.get("reasoning")
    return [
        texts.number(shown),
        _short(record["reward"]),
        _short(record["advantage"]),
        _short(record["uplift"]),
        stale,
        record["tokens"],
        texts.number(record["malformed"]),
        texts.number(record["masked"]),
        int(bool(record["leaked"])),
        rubric
        and [[_short(each) for each in rubric["labels"].values()], _short(rubric["total"]), _short(rubric["score"])],
        [_verdict(each, texts) for each in record["verdicts"]],
        record["fresh"] and _verdict(record["fresh"], texts),
    ]


def _verdict(verdict: dict[str, Any], texts: Texts) -> list[Any]:
    outcome, artifact = texts.number(verdict["outcome"]), texts.number(verdict["artifact"])
    return [outcome, artifact, verdict["passed_tests"], verdict["total_tests"]]


def _version_before(run: RunHistory, step: int) -> int | None:
    """The learner's version when it took the batch of ``step``; None where that was not measured."""
    versions = run.versions
    return versions.get(step - 1, 0 if step == 1 else None)


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
