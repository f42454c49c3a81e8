"""Tells what a data file is by its beginning, and opens it.

The promise: what is refused holds no records that ``data.rows`` can read; what passes may still have faults.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal, cast

from tracelift_ray.errors import DataError

Kind = Literal["JSON lines", "JSON list", "CSV", "Parquet", "Arrow"]
#: What a file begins with that holds a table.
_TABLES: tuple[tuple[bytes, Kind], ...] = (
    (b"PAR1", "Parquet"),
    (b"ARROW1", "Arrow"),
    (b"\xff\xff\xff\xff", "Arrow"),  # the stream form, of data sets saved by the `datasets` library
)
#: What a compressed file begins with, and what reads it.
_COMPRESSED: tuple[tuple[bytes, Callable[[str | Path], object]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ", lzma.open),
)
_READABLE = "JSON lines, a JSON list, CSV, Parquet or Arrow is needed"
#: What a file begins with that cannot be read, what it is, and what to do.
_REFUSED: tuple[tuple[bytes, str, str], ...] = (
    (b"\x28\xb5\x2f\xfd", "compressed (zstd)", "unpack it, such as with unzstd FILE"),
    (b"PK\x03\x04", "a ZIP archive", "unpack it, such as with unzip FILE"),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file with git lfs pull"),
    (b"\xff\xfe", "UTF-16 text", "convert it, such as with iconv -f UTF-16 -t UTF-8"),
    (b"\xfe\xff", "UTF-16 text", "convert it, such as with iconv -f UTF-16 -t UTF-8"),
)
_BOM = b"\xef\xbb\xbf"
_HEAD_BYTES = 2**16
_TABLE_HEADER = re.compile(rb"""["']?\w[\w "'.-]*([,\t;]["']?\w[\w "'.-]*)+""")


def file_kind(path: str | Path) -> Kind:
    """What the file holds.

    Raises:
        DataError: one line that says what the file is, what can be read, and how to make it; or that there is no file.
    """
    kind, stream = open_data(path)
    stream.close()
    return kind


def open_data(path: str | Path) -> tuple[Kind, BinaryIO]:
    """A data file's kind, and its bytes, unpacked. Raises DataError as ``file_kind``."""
    if Path(path).is_dir():
        raise DataError(f"{path} is a directory: name a file")
    try:
        stream = _opened(path)
        head = stream.read(_HEAD_BYTES)
        stream.seek(0)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: check the path") from None
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise DataError(f"{path} cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    try:
        return _kind(path, head), stream
    except DataError:
        stream.close()
        raise


def _opened(path: str | Path) -> BinaryIO:
    with open(path, "rb") as raw:
        head = raw.read(8)
    unpack = next((unpack for magic, unpack in _COMPRESSED if head.startswith(magic)), None)
    return open(path, "rb") if unpack is None else io.BufferedReader(cast(io.RawIOBase, unpack(path)))


def _kind(path: str | Path, head: bytes) -> Kind:
    table = next((kind for magic, kind in _TABLES if head.startswith(magic)), None)
    if table is not None:
        return table
    for magic, what, remedy in _REFUSED:
        if head.startswith(magic):
            raise _refusal(path, what, remedy)
    text = head.removeprefix(_BOM).strip()
    if not text and head and len(head) < _HEAD_BYTES:
        raise DataError(f"{path} holds no record: the file is blank")
    first, _, rest = (part.strip() for part in text.partition(b"\n"))
    if first.startswith(b"[") and (text == first or not first.endswith(b"]")):
        return "JSON list"
    if first == b"{" and rest.startswith(b'"'):
        raise _refusal(path, "JSON over several lines", "convert it, such as with jq -c . FILE > data.jsonl")
    return "CSV" if _TABLE_HEADER.fullmatch(first) else "JSON lines"


def _refusal(path: str | Path, what: str, remedy: str) -> DataError:
    return DataError(f"{path} is {what}, and {_READABLE}; {remedy}")
