"""Tells a JSON-lines file from other kinds of files by its beginning, and says how to make one of them.

The promise: a file that is refused is not JSON lines whatever follows; what passes may still have faults.
"""

from __future__ import annotations

import re
from pathlib import Path

from tracelift_ray.errors import DataError

_PANDAS = "convert it, such as with pandas.read_{0}(FILE).to_json('data.jsonl', orient='records', lines=True)"
_UNPACK = "unpack it, such as with {0}"
#: What a file begins with, what it is, and what to do.
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"PAR1", "a Parquet file", _PANDAS.format("parquet")),
    (b"ARROW1", "an Arrow file", _PANDAS.format("feather")),
    (b"\x1f\x8b", "compressed (gzip)", _UNPACK.format("gunzip --keep FILE")),
    (b"\x28\xb5\x2f\xfd", "compressed (zstd)", _UNPACK.format("unzstd FILE")),
    (b"BZh", "compressed (bzip2)", _UNPACK.format("bunzip2 --keep FILE")),
    (b"\xfd7zXZ", "compressed (xz)", _UNPACK.format("unxz --keep FILE")),
    (b"PK\x03\x04", "a ZIP archive", _UNPACK.format("unzip FILE")),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file with git lfs pull"),
    (b"\xff\xfe", "UTF-16 text", "convert it, such as with iconv -f UTF-16 -t UTF-8"),
    (b"\xfe\xff", "UTF-16 text", "convert it, such as with iconv -f UTF-16 -t UTF-8"),
)
_BOM = b"\xef\xbb\xbf"
_HEAD_BYTES = 2**16
_TABLE_HEADER = re.compile(rb"""["']?\w[\w "'.-]*([,\t;]["']?\w[\w "'.-]*)+""")


def check_is_json_lines(path: str | Path) -> None:
    """A file that may be JSON lines.

    Raises:
        DataError: one line that says what the file is, what is wanted, and how to make it.
        OSError: it cannot be read.
    """
    with open(path, "rb") as stream:
        head = stream.read(_HEAD_BYTES)
    for magic, what, remedy in _KINDS:
        if head.startswith(magic):
            raise _refusal(path, what, remedy)
    text = head.removeprefix(_BOM).strip()
    if not text and head and len(head) < _HEAD_BYTES:
        raise DataError(f"{path} holds no record: the file is blank")
    first, _, rest = (part.strip() for part in text.partition(b"\n"))
    if first.startswith(b"[") and (text == first or not first.endswith(b"]")):
        raise _refusal(path, "a JSON list", "convert it, such as with jq -c '.[]' FILE > data.jsonl")
    if first == b"{" and rest.startswith(b'"'):
        raise _refusal(path, "JSON over several lines", "convert it, such as with jq -c . FILE > data.jsonl")
    if _TABLE_HEADER.fullmatch(first):
        raise _refusal(path, "a table (CSV)", _PANDAS.format("csv"))


def _refusal(path: str | Path, what: str, remedy: str) -> DataError:
    return DataError(f"{path} is {what}, and JSON lines are needed, one object a line; {remedy}")
