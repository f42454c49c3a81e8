"""Append-only JSON lines that survive a kill at any moment: no record is ever torn, and none is doubled on resume.

Each record is one line and one ``write`` call on an ``O_APPEND`` descriptor, so a killed process leaves whole records
and at most one torn last line, which the next opening cuts off. Records carry a ``step`` that never decreases; a run
that resumes from an earlier step truncates the file behind the last record of that step, which it looks for from the
end: what it keeps is not read.
"""

from __future__ import annotations

import json
import math
import os
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from tracelift_ray.errors import DataError

#: Bytes that are read at a time from the end of a file.
CHUNK = 2**20


def _finite(value: Any) -> Any:
    """Non-finite numbers become None, at any depth: JSON has no word for them, and a gap is better than a number."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def read_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The whole records of a file, each with the byte offset behind its line. A torn last line is left out.

    Raises:
        DataError: a line that is not the last holds no JSON object with an integer ``step``.
    """
    offset = 0
    with open(path, "rb") as lines:
        total = os.fstat(lines.fileno()).st_size
        for number, line in enumerate(lines, start=1):
            offset += len(line)
            if not line.endswith(b"\n"):  # nothing follows, even where a resumed run has cut the file off meanwhile
                return
            try:
                record = _record(line)
            except ValueError as error:
                if offset >= total:
                    return
                raise DataError(f"{path}:{number}: not a record of this run ({error}); move the file away") from error
            yield offset, record


def _record(line: bytes) -> dict[str, Any]:
    """The record in a line. Raises ValueError where there is none."""
    record = json.loads(line)
    if not isinstance(record, dict) or not isinstance(record.get("step"), int):
        raise ValueError("no object with a step")
    return record


def _lines_backwards(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, the last one first, without their line ends; each with the byte offset where it ends.

    First comes what stands behind the last line end: a torn line, or nothing.
    """
    start = end = file.seek(0, os.SEEK_END)
    rest = b""
    while start > 0:
        size = min(CHUNK, start)
        start -= size
        file.seek(start)
        rest, *lines = (file.read(size) + rest).split(b"\n")
        for line in reversed(lines):
            yield end, line
            end -= len(line) + 1
    yield end, rest


def _last_kept(path: Path, keep_step: int | None) -> tuple[int, int | None]:
    """The offset behind the last record that is kept, and its step; 0 and None where there is none."""
    with open(path, "rb") as file:
        lines = _lines_backwards(file)
        next(lines)  # behind the last line end there is no whole record
        for number, (end, line) in enumerate(lines):
            try:
                step = _record(line)["step"]
            except ValueError:
                if number > 0:
                    deque(read_records(path), maxlen=0)  # raises, with the number of the line
                continue
            if keep_step is None or step <= keep_step:
                return end + 1, step
    return 0, None


class JsonlWriter:
    """One append-only file of step records.

    Args:
        path: the file; made where missing. A torn last line is cut off.
        keep_step: records of later steps are dropped; None keeps all.

    Attributes:
        last_step: the step of the newest record, None in an empty file.

    Raises:
        DataError: where it is read, the file holds something other than records of a run.
    """

    def __init__(self, path: Path, keep_step: int | None = None) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            self._length, self.last_step = _last_kept(path, keep_step)
            os.ftruncate(self._descriptor, self._length)
        except (OSError, DataError):
            os.close(self._descriptor)
            raise

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record.

        Raises:
            ValueError: its ``step`` is missing or smaller than the last one's.
            OSError: the record could not be written whole; the file is left as it was before.
        """
        step = record.get("step")
        if not isinstance(step, int) or (self.last_step is not None and step < self.last_step):
            raise ValueError(f"{self._path}: step {step!r} after step {self.last_step}; steps never decrease")
        line = json.dumps(_finite(record), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        data = line.encode("utf-8", "replace") + b"\n"
        try:
            written = os.write(self._descriptor, data)
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError:
            os.ftruncate(self._descriptor, self._length)
            raise
        self._length += len(data)
        self.last_step = step

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
