"""What is known of one evaluated problem, and the file that keeps it: one line a problem, written when it is done.

An evaluation that ends at any moment loses the problems under way and nothing else; the same evaluation started again
goes on behind them. A file belongs to one set-up (planner, executor, prompts, sampling), which stands beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.errors import DataError
from tracelift_ray.tracking.jsonl import JsonlWriter, read_records
from tracelift_ray.types import Malformed, Outcome

RECORDS, SETUP = "records.jsonl", "setup.json"


@dataclass(frozen=True)
class EvaluatedTrace:
    """One trace.

    Attributes:
        text: what the executor was shown; None where the trace is malformed.
        tokens: of the planner's completion.
        rm_score: the reasoning RM's score in [0, 1], where there is an RM.
        checks: further checks of the text, such as whether a trace of the demo world is valid.
        prompt: what the planner was given; empty in files that do not have it.
        written: all that the planner wrote, where the trace is malformed.
    """

    text: str | None
    malformed: Malformed | None
    tokens: int
    length_cut: bool
    leaked: bool
    rm_score: float | None = None
    checks: Mapping[str, bool] = field(default_factory=dict)
    prompt: str = ""
    written: str | None = None


@dataclass(frozen=True)
class ProblemResult:
    """One problem, attempted with traces and without.

    Attributes:
        benchmark: what it is counted under.
        traces: one for all attempts, or one for each.
        with_trace, without_trace: what became of each attempt. A malformed trace fails as ``no_artifact``.
        artifacts: what the executor wrote in the attempts with a trace; None where there was nothing.
    """

    benchmark: str
    id: str
    task: str
    traces: tuple[EvaluatedTrace, ...]
    with_trace: tuple[Outcome, ...]
    without_trace: tuple[Outcome, ...]
    artifacts: tuple[str | None, ...]

    @property
    def key(self) -> tuple[str, str]:
        """What tells it apart in an evaluation."""
        return self.benchmark, self.id

    @property
    def successes(self) -> tuple[bool, ...]:
        """Whether each attempt with a trace passed."""
        return tuple(outcome == "passed" for outcome in self.with_trace)

    @property
    def baseline_successes(self) -> tuple[bool, ...]:
        """Whether each attempt without a trace passed."""
        return tuple(outcome == "passed" for outcome in self.without_trace)

    @property
    def accuracy(self) -> float:
        """Success rate with the trace, in [0, 1]."""
        return fmean(self.successes)

    @property
    def baseline(self) -> float:
        """Success rate without a trace, in [0, 1]."""
        return fmean(self.baseline_successes)

    @property
    def uplift(self) -> float:
        """Accuracy minus baseline, in [-1, 1]."""
        return self.accuracy - self.baseline


class ResultsInMemory:
    """Results by benchmark and problem id, which nobody needs later."""

    def __init__(self) -> None:
        self.done: dict[tuple[str, str], ProblemResult] = {}

    def add(self, result: ProblemResult) -> None:
        """Keep a result."""
        self.done[result.key] = result


class ResultStore(ResultsInMemory):
    """The results of one evaluation in ``directory``.

    Args:
        directory: made where missing.
        setup: what was evaluated, plain JSON values.

    Raises:
        ConfigError: the directory holds the results of another set-up.
        DataError: it holds something else.
    """

    def __init__(self, directory: Path, setup: Mapping[str, Any]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        known = read_setup(directory) if (directory / SETUP).exists() else None
        if known is not None and (differing := differences(known, setup)):
            right = f"holds an evaluation with another {differing[0]}; choose another out"
            raise ConfigError("out", str(directory), right)
        if known is None:
            (directory / SETUP).write_text(json.dumps(setup, indent=1) + "\n")
        self.directory = directory
        self.done = read_results(directory)
        self._writer = JsonlWriter(directory / RECORDS)

    def add(self, result: ProblemResult) -> None:
        """Keep a result; it is on disk afterwards."""
        self._writer.write({"step": len(self.done), **asdict(result)})
        super().add(result)

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def read_setup(directory: Path) -> dict[str, Any]:
    """What an evaluation was of. Raises DataError where the directory holds none."""
    try:
        setup = json.loads((directory / SETUP).read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{directory} holds no evaluation ({SETUP}: {error})") from error
    if not isinstance(setup, dict):
        raise DataError(f"{directory / SETUP}: must be an object")
    return setup


def read_results(directory: Path) -> dict[tuple[str, str], ProblemResult]:
    """The results in a directory, by benchmark and problem; none where it has none yet. Raises DataError."""
    path = directory / RECORDS
    if not path.exists():
        return {}
    found = {}
    for _, record in read_records(path):
        try:
            result = _result(record)
        except (KeyError, TypeError) as error:
            raise DataError(f"{path}: a record is no result of a problem ({error!r}); move the file away") from error
        found[result.key] = result
    return found


def comparable_results(directory: Path, setup: Mapping[str, Any]) -> dict[tuple[str, str], ProblemResult]:
    """The results of an evaluation to compare one of ``setup`` with.

    Raises:
        ConfigError: more than the planner differs.
        DataError: the directory holds no evaluation.
    """
    differing = [key for key in differences(read_setup(directory), setup) if key.partition(".")[0] != "planner"]
    if differing:
        right = f"cannot be compared: its {', '.join(differing)} is another; evaluate both in the same way"
        raise ConfigError("against", str(directory), right)
    return read_results(directory)


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """The keys whose values differ, those of nested objects dotted."""
    found = []
    for key in sorted({*first, *second}):
        ours, theirs = first.get(key), second.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            found += [f"{key}.{inner}" for inner in differences(ours, theirs)]
        elif json.loads(json.dumps(ours)) != json.loads(json.dumps(theirs)):
            found.append(key)
    return found


def _result(record: Mapping[str, Any]) -> ProblemResult:
    return ProblemResult(
        record["benchmark"],
        record["id"],
        record["task"],
        tuple(EvaluatedTrace(**trace) for trace in record["traces"]),
        tuple(record["with_trace"]),
        tuple(record["without_trace"]),
        tuple(record["artifacts"]),
    )
