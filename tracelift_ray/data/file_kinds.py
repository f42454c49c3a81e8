"""Tells what a data file is by its beginning, and opens it.

The promise: what is refused holds no records that ``data.rows`` can read; what passes may still have faults.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal, cast

from tracelift_ray.config.errors import first_line
from tracelift_ray.errors import DataError

Kind = Literal["JSON lines", "JSON list", "CSV", "Parquet", "Arrow"]
#: What a file begins with that holds a table.
_TABLES: tuple[tuple[bytes, Kind], ...] = (
    (b"PAR1", "Parquet"),
    (b"ARROW1", "Arrow"),
    (b"\xff\xff\xff\xff", "Arrow"),  # the stream form, of data sets saved by the `datasets` library
)
#: What a compressed file begins with, what it is, and what reads it.
_COMPRESSED: tuple[tuple[bytes, str, Callable[[str | Path], object]], ...] = (
    (b"\x1f\x8b", "gzip", gzip.open),
    (b"BZh", "bzip2", bz2.open),
    (b"\xfd7zXZ", "xz", lzma.open),
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
        packing, stream = _opened(path)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: check the path") from None
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror or error}") from error
    try:
        head = stream.read(_HEAD_BYTES)
        stream.seek(0)
        return _kind(path, head), stream
    except DataError:
        stream.close()
        raise
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        stream.close()
        done = f"unpacked as {packing}" if packing else "read"
        raise DataError(f"{path} cannot be {done}: {first_line(error)}; fetch or write it again, whole") from error


def _opened(path: str | Path) -> tuple[str, BinaryIO]:
    """How a file is packed, empty where it is not, and its bytes, unpacked."""
    with open(path, "rb") as raw:
        head = raw.read(8)
    for magic, packing, unpack in _COMPRESSED:
        if head.startswith(magic):
            return packing, io.BufferedReader(cast(io.RawIOBase, unpack(path)))
    return "", open(path, "rb")


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
