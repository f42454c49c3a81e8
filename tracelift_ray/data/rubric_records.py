"""TraceLift-Groups on disk: for one problem, good traces and flawed ones, each with its rubric; one record a line.

The schema is that of the released files: ``problem_id, source, task_type, problem, reference_solution,
positive_pool[{reasoning, rubric{five dimensions, total}}], negative_bank[{reasoning, negative_kind, rubric}],
metadata`` and optionally ``tests_or_constraints`` or ``tests``. Released files load unchanged. The names of the five
rubric dimensions say which task a record belongs to; a task that shares them with an earlier one is named in ``task``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tracelift_ray.config.rules import either
from tracelift_ray.config.schema import OnError
from tracelift_ray.data.jsonl import write_lines
from tracelift_ray.data.loading import Loaded, load_records
from tracelift_ray.records import (
    Record,
    RecordError,
    as_text,
    identifier,
    items,
    mapping,
    optional_text,
    required_text,
    scalar_text,
)
from tracelift_ray.tasks.code_tests import tests_record
from tracelift_ray.tasks.table import TASKS, task_of
from tracelift_ray.types import Problem

MAX_LABEL = 4
_TRACE_KEYS = ("reasoning", "rubric", "negative_kind")
_TESTS_KEYS = ("tests_or_constraints", "tests")


@dataclass(frozen=True)
class RubricLabels:
    """A judge's rubric: ``labels`` in 0..4 in the order of ``task_of(task).dimensions``, and ``total`` in [0, 1]."""

    labels: tuple[int, ...]
    total: float


@dataclass(frozen=True)
class RubricTrace:
    """One trace of a record.

    Attributes:
        labels: five integers in 0..4, in the order of ``task_of(task).dimensions``.
        total: the judge's total in [0, 1].
        negative_kind: how a flawed trace is flawed; None for a good one, and where the file does not say.
        extra: what else the record holds, kept for writing it back.
    """

    reasoning: str
    labels: tuple[int, ...]
    total: float
    negative_kind: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RubricRecord:
    """A problem with its good (``positives``) and flawed (``negatives``) traces, at least one of each.

    ``problem.task_type`` is the record's, else that of its metadata, else its source. ``problem.answer`` and
    ``problem.tests`` may be None: a reasoning RM needs neither. ``problem.tests_text`` is the text of
    ``tests_or_constraints`` or ``tests`` as it stands, of any task, runnable or not.
    """

    problem: Problem
    positives: tuple[RubricTrace, ...]
    negatives: tuple[RubricTrace, ...]
    source: str = "unknown"
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> str:
        return self.problem.task

    @property
    def traces(self) -> tuple[RubricTrace, ...]:
        """The good ones first."""
        return (*self.positives, *self.negatives)


def load_rubric_records(path: str | Path, on_error: OnError = "strict", limit: int = 0) -> Loaded[RubricRecord]:
    """Read a TraceLift-Groups file.

    Args:
        on_error: ``strict`` raises on any fault, ``skip`` leaves faulty records out and reports them.
        limit: stop after this many records; 0 reads all.

    Raises:
        DataError: as ``load_records``; every fault names line, field, value and rule.
    """
    lines: dict[str, int] = {}

    def parse(line: int, record: Record) -> RubricRecord:
        parsed = parse_rubric_record(record)
        first = lines.setdefault(parsed.problem.id, line)
        if first != line:
            raise RecordError(
                "duplicate_id", "problem_id", f"must be unique, line {first} has it too", parsed.problem.id
            )
        return parsed

    records, log = load_records(path, parse, what="groups", on_error=on_error, limit=limit)
    return Loaded(records, log.report("groups", len(records)))


def write_rubric_records(path: str | Path, records: Iterable[RubricRecord]) -> int:
    """Write records in the released schema, whole or not at all; returns their number. ``load_rubric_records`` gives
    them back."""
    return write_lines(path, map(encode_rubric_record, records))


def encode_rubric_record(record: RubricRecord) -> dict[str, Any]:
    """The JSON object of one record. ``answer`` is written beside the released fields where the problem has one."""
    problem = record.problem
    encoded: dict[str, Any] = {
        "problem_id": problem.id,
        "source": record.source,
        "task_type": problem.task_type,
        "problem": problem.statement,
        "reference_solution": problem.solution or problem.answer or "",
        "positive_pool": [_trace_record(trace, problem.task) for trace in record.positives],
        "negative_bank": [_trace_record(trace, problem.task) for trace in record.negatives],
        "metadata": dict(record.metadata),
    }
    if problem.task != next(
        name for name, task in TASKS.items() if task.dimensions == task_of(problem.task).dimensions
    ):
        encoded["task"] = problem.task  # its dimensions are those of another task, too
    if problem.answer is not None:
        encoded["answer"] = problem.answer
    if problem.tests_text:
        encoded["tests_or_constraints"] = problem.tests_text
    elif problem.tests is not None:
        encoded["tests_or_constraints"] = tests_record(problem.tests)
    return encoded


def parse_rubric_record(record: Record) -> RubricRecord:
    """One decoded line as a record. Raises RecordError at the first rule it breaks."""
    problem_id = identifier(record, "problem_id")
    statement = required_text(record, "problem")
    metadata = mapping(record.get("metadata"), "metadata")
    source = optional_text(record, "source") or "unknown"
    task = _task(record)
    positives = _traces(record, "positive_pool", task)
    negatives = _traces(record, "negative_bank", task)
    reference = task_of(task).group_reference(record)
    problem = Problem(
        id=problem_id,
        task=task,
        statement=statement,
        task_type=optional_text(record, "task_type") or optional_text(metadata, "task_type") or source,
        answer=reference.answer,
        tests=reference.tests,
        solution=_worked_solution(record, reference.answer),
        tests_text=_tests_text(record),
    )
    return RubricRecord(problem, positives, negatives, source, metadata)


def parse_rubric(value: Any, where: str, task: str) -> RubricLabels:
    """A rubric object with exactly the task's five dimensions, each an integer in 0..4, and a total in [0, 1]."""
    rubric, dimensions = _rubric_object(value, where), task_of(task).dimensions
    unknown = [name for name in rubric if name not in (*dimensions, "total")]
    if unknown:
        rule = f"the dimensions of {task} are {', '.join(dimensions)}"
        raise RecordError("unknown_dimension", f"{where}.{unknown[0]}", rule)
    labels = []
    for name in dimensions:
        label = rubric.get(name)
        if isinstance(label, bool) or not isinstance(label, (int, float)) or label not in range(MAX_LABEL + 1):
            raise RecordError("bad_label", f"{where}.{name}", f"must be an integer from 0 to {MAX_LABEL}", label)
        labels.append(int(label))
    total = rubric.get("total")
    if isinstance(total, bool) or not isinstance(total, (int, float)) or not 0 <= total <= 1 or math.isnan(total):
        raise RecordError("bad_total", f"{where}.total", "must be a number from 0 to 1", total)
    return RubricLabels(tuple(labels), float(total))


def _task(record: Record) -> str:
    """The task that the record names, else the first whose dimensions its first rubric has."""
    first = mapping(_pool(record, "positive_pool")[0], "positive_pool[0]")
    rubric = _rubric_object(first.get("rubric"), "positive_pool[0].rubric")
    if record.get("task") is not None:
        return named_task(record)
    by_dimensions: dict[tuple[str, ...], str] = {}
    for name, task in TASKS.items():
        by_dimensions.setdefault(task.dimensions, name)
    shared = Counter(dimension for dimensions in by_dimensions for dimension in dimensions)
    found = [task for names, task in by_dimensions.items() if any(n in rubric and shared[n] == 1 for n in names)]
    if len(found) != 1:
        named = [f"{task} ({', '.join(names)})" for names, task in by_dimensions.items()]
        rule = f"must name the dimensions of {' or of '.join(named)}"
        raise RecordError("unknown_dimension", "positive_pool[0].rubric", rule, sorted(rubric))
    return found[0]


def named_task(record: Record) -> str:
    """The task that a record names, as those do whose dimensions are another task's, too."""
    name = required_text(record, "task")
    if name not in TASKS:
        raise RecordError("wrong_value", "task", f"must be {either(list(TASKS))}", name)
    return name


def _rubric_object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RecordError("missing_rubric", where, "must be an object of five labels and a total", value)
    return value


def _pool(record: Record, name: str) -> list[Any]:
    pool = items(record.get(name) or [], name)
    if not pool:
        missing = "no_negatives" if name == "negative_bank" else "no_positives"
        raise RecordError(missing, name, "must hold at least one trace")
    return pool


def _traces(record: Record, name: str, task: str) -> tuple[RubricTrace, ...]:
    traces = []
    for i, value in enumerate(_pool(record, name)):
        where = f"{name}[{i}]"
        entry = mapping(value, where)
        reasoning = required_text(entry, "reasoning", where=f"{where}.")
        rubric = parse_rubric(entry.get("rubric"), f"{where}.rubric", task)
        kind = optional_text(entry, "negative_kind", where=f"{where}.")
        extra = {key: entry[key] for key in entry if key not in _TRACE_KEYS}
        traces.append(RubricTrace(reasoning, rubric.labels, rubric.total, kind, extra))
    return tuple(traces)


def _tests_text(record: Record) -> str:
    """The tests or constraints, where they are given as text."""
    name = next((name for name in _TESTS_KEYS if record.get(name)), _TESTS_KEYS[0])
    value = record.get(name)
    return as_text(value, name) if isinstance(value, str) else ""


def _worked_solution(record: Record, answer: str | None) -> str | None:
    """The reference solution, unless it is the answer and nothing more."""
    value = record.get("reference_solution")
    reference = None if value is None else scalar_text(value, "reference_solution")
    return None if reference in ("", answer) else reference


def _trace_record(trace: RubricTrace, task: str) -> dict[str, Any]:
    rubric: dict[str, float] = {**dict(zip(task_of(task).dimensions, trace.labels, strict=True)), "total": trace.total}
    record: dict[str, Any] = {"reasoning": trace.reasoning}
    if trace.negative_kind is not None:
        record["negative_kind"] = trace.negative_kind
    return {**record, "rubric": rubric, **trace.extra}
