"""JSON lines: reading one record at a time, and writing.

A file is streamed: no more than one line of at most ``MAX_LINE_BYTES`` is held, and a longer line is refused without
being read whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NoReturn

from tracelift_ray.records import Record, RecordError

#: A longer line is no record: problems and groups are kilobytes, the largest test suites a few megabytes.
MAX_LINE_BYTES = 64 * 2**20
_BOM = b"\xef\xbb\xbf"


def read_records(stream: BinaryIO) -> Iterator[tuple[int, Record | RecordError]]:
    """Yield (line number from 1, the JSON object or the RecordError it earns) for every line that is not blank."""
    for number, raw in enumerate(_lines(stream), start=1):
        if raw is None:
            rule = f"a line holds at most {MAX_LINE_BYTES // 2**20} MiB"
            yield number, RecordError("long_line", "record", rule)
            continue
        if number == 1:
            raw = raw.removeprefix(_BOM)
        if raw.strip():
            yield number, _decode(raw)


def write_lines(path: str | Path, records: Iterable[Record]) -> int:
    """Write one JSON object a line, whole or not at all (a temporary neighbour is renamed); returns their number."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    count = 0
    # A lone surrogate in a passed-through field has no UTF-8 form; its backslash form is the JSON escape it came from.
    with open(partial, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
        for record in records:
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")
            count += 1
    partial.replace(target)
    return count


def _lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Yield each line, or None for one that is longer than allowed."""
    while raw := stream.readline(MAX_LINE_BYTES + 1):
        if len(raw) <= MAX_LINE_BYTES or raw.endswith(b"\n"):
            yield raw
            continue
        del raw
        while (rest := stream.readline(2**20)) and not rest.endswith(b"\n"):
            pass
        yield None


def _decode(raw: bytes) -> Record | RecordError:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return RecordError("not_utf8", "record", f"the file must be UTF-8 (byte {error.start} of the line is not)")
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        return RecordError("broken_json", "record", f"must be one JSON object ({error.msg} at column {error.colno})")
    except (ValueError, RecursionError) as error:  # NaN, an integer of thousands of digits, nesting without end
        return RecordError("broken_json", "record", f"must be one plain JSON object ({error})")
    if not isinstance(value, dict):
        return RecordError("not_object", "record", "each line must be a JSON object", value)
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
