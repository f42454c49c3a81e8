"""Loads problem files: every record becomes a Problem, or a fault that names line, field and rule.

Promises: ids are unique within a file, every math problem has a reference and every code problem has tests, no
statement is empty or longer than allowed, and nothing is left out without being counted.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import xxhash

from tracelift_ray.config.schema import OnError
from tracelift_ray.data.fields import with_fields
from tracelift_ray.data.formats import FORMATS, detect_format, problem_record
from tracelift_ray.data.jsonl import write_lines
from tracelift_ray.data.loading import Loaded, load_records
from tracelift_ray.data.readings import Reading, reading_of
from tracelift_ray.errors import DataError
from tracelift_ray.records import Record, RecordError
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Problem


def load_problems(
    path: str | Path,
    format: str = "auto",
    *,
    fields: Mapping[str, str] | None = None,
    on_error: OnError = "strict",
    max_problem_chars: int = 0,
    max_tests: int = 0,
    limit: int = 0,
) -> Loaded[Problem]:
    """Read a file or data set of problems (``data.rows``).

    Args:
        path: may say behind a ``?`` what ``format`` and ``fields`` say, and is read by that alone (``readings``).
        format: a name in ``formats.FORMATS``, or ``auto``: by the first record's keys.
        fields: further fields of each record, by paths in it (``data.fields``).
        on_error: ``strict`` raises on any fault; ``skip`` leaves faulty records out and reports them.
        max_problem_chars: longer statements are cut to this many characters, and counted; 0 cuts none.
        max_tests: only the first so many tests of a problem are kept; 0 keeps all.
        limit: stop after this many problems; 0 reads all.

    Raises:
        DataError: the file is missing, faulty (``strict``), without a usable problem, or of no known format.
    """
    reading = reading_of(str(path), format, fields)
    reader = _Reader(reading, max_problem_chars, max_tests)
    problems, log = load_records(reading.location, reader.read, what="problems", on_error=on_error, limit=limit)
    report = log.report(reader.format, len(problems), cut=reader.cut, same_text=reader.same_text)
    return Loaded(problems, replace(report, fields=reader.fields))


def write_problems(path: str | Path, problems: Iterable[Problem]) -> int:
    """Write problems in the project's own form, whole or not at all; returns their number."""
    return write_lines(path, (problem_record(problem) for problem in problems))


def text_key(statement: str) -> bytes:
    """What two statements share exactly when they read the same, whatever their case, spacing or Unicode form."""
    folded = unicodedata.normalize("NFKC", statement).casefold()
    return xxhash.xxh3_128_digest(" ".join(folded.split()).encode())


class _Reader:
    """Parses the records of one file in order, and remembers what earlier ones were."""

    def __init__(self, reading: Reading, max_problem_chars: int, max_tests: int) -> None:
        self.path = reading.location
        self.format = reading.format
        self.fields = reading.fields
        self.own = reading.own
        self.max_problem_chars = max_problem_chars
        self.max_tests = max_tests
        self.cut = 0
        self.same_text = 0
        self._lines: dict[str, int] = {}
        self._texts: set[bytes] = set()

    def read(self, line: int, record: Record) -> Problem:
        record = with_fields(record, self.fields, "what follows the ?" if self.own else "data.fields")
        if self.format == "auto":
            self.format = self._detect(line, record)
        try:
            problem = FORMATS[self.format].parse(record)
        except DataError as error:  # The format needs something that is not installed.
            raise DataError(f"{self.path}: {error}") from None
        first = self._lines.setdefault(problem.id, line)
        if first != line:
            raise RecordError("duplicate_id", "id", f"must be unique, but line {first} has the same", problem.id)
        key = text_key(problem.statement)
        self.same_text += key in self._texts
        self._texts.add(key)
        return self._shortened(problem)

    def _detect(self, line: int, record: Record) -> str:
        found = detect_format(record)
        if found is None:
            keys = ", ".join(sorted(record)[:12]) or "none"
            known = ", ".join(FORMATS)
            remedy = f"set data.format to one of {known}, or name its fields in data.fields"
            if self.own:
                remedy = f"behind the ? give format= and one of {known}, or name its fields"
            raise DataError(
                f"{self.path}:{line}: no known problem format has the keys {keys}; {remedy} "
                "(id, task, statement, answer or tests)"
            )
        return found

    def _shortened(self, problem: Problem) -> Problem:
        tests = problem.tests
        if tests is not None and self.max_tests and len(tests) > self.max_tests:
            problem = replace(problem, tests=tests.limited(self.max_tests))
        if self.max_problem_chars and len(problem.statement) > self.max_problem_chars:
            self.cut += 1
            statement = task_of(problem.task).cut_statement(problem.statement, self.max_problem_chars)
            problem = replace(problem, statement=statement)
        return problem
