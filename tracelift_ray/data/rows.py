"""Reads the records of a source one after another, whatever kind of file or data set it is.

A record is a plain JSON-like object with its row, counted from 1 (the line, where the file has lines). JSON lines,
CSV, Parquet and Arrow are streamed; a JSON list is read whole.
"""

from __future__ import annotations

import csv
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from tracelift_ray.config.errors import first_line
from tracelift_ray.data.data_sets import data_set_rows, is_data_set
from tracelift_ray.data.file_kinds import Kind, open_data
from tracelift_ray.data.jsonl import MAX_LINE_BYTES, read_records
from tracelift_ray.errors import DataError
from tracelift_ray.records import Record, RecordError

Rows = Iterator[tuple[int, Record | RecordError]]
#: Rows of a Parquet file that are decoded at a time.
_BATCH = 256
#: What readers raise for a damaged file; pyarrow's own are ValueError and OSError.
_DAMAGED = (OSError, EOFError, ValueError, csv.Error, zlib.error, lzma.LZMAError)


def read_rows(source: str) -> Rows:
    """The rows of a file, or of a data set of the `datasets` library (``data_sets``).

    Raises:
        DataError: there is no such source, it cannot be read, or it is damaged.
    """
    if is_data_set(source):
        yield from data_set_rows(source)
        return
    kind, stream = open_data(source)
    with stream:
        try:
            yield from _READERS[kind](stream)
        except _DAMAGED as error:
            remedy = "fetch or write it again, whole and, if it is text, in UTF-8"
            raise DataError(f"{source} cannot be read as {kind}: {first_line(error)}; {remedy}") from error


def _json_list(stream: BinaryIO) -> Rows:
    for row, value in enumerate(json.load(stream), start=1):
        yield row, value if isinstance(value, dict) else RecordError("not_object", "record", "must be an object", value)


def _csv(stream: BinaryIO) -> Rows:
    """Cells are text; an empty one counts as absent."""
    csv.field_size_limit(MAX_LINE_BYTES)
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    header = text.readline()
    text.seek(0)
    reader = csv.DictReader(text, delimiter=max(",\t;", key=header.count))
    for row, record in enumerate(reader, start=2):
        if None in record:
            yield row, RecordError("not_object", "record", f"has more than the {len(record) - 1} cells of the header")
        else:
            yield row, {name: cell for name, cell in record.items() if cell}


def _parquet(stream: BinaryIO) -> Rows:
    from pyarrow.parquet import ParquetFile

    row = 0
    for batch in ParquetFile(stream).iter_batches(batch_size=_BATCH):
        for record in batch.to_pylist():
            row += 1
            yield row, record


def _arrow(stream: BinaryIO) -> Rows:
    from pyarrow import ipc

    file_form = stream.read(6) == b"ARROW1"
    stream.seek(0)
    reader = ipc.open_file(stream) if file_form else ipc.open_stream(stream)
    batches = (reader.get_batch(i) for i in range(reader.num_record_batches)) if file_form else iter(reader)
    row = 0
    for batch in batches:
        for record in batch.to_pylist():
            row += 1
            yield row, record


_READERS: dict[Kind, Callable[[BinaryIO], Rows]] = {
    "JSON lines": read_records,
    "JSON list": _json_list,
    "CSV": _csv,
    "Parquet": _parquet,
    "Arrow": _arrow,
}
