"""The data of a page, compressed part by part, so that 20,000 traces make a file that opens and is read in a moment.

What is written into the page is base64 and line breaks alone, so nothing in it ends its element or opens another.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

#: Characters of the texts that are compressed together; the browser takes some hundredths of a second for each part.
PART = 1_000_000


def packed(data: Mapping[str, Any]) -> str:
    """Lines of base64: all but ``texts`` first, then the texts, part by part; each is JSON, compressed by zlib."""
    rest = {name: value for name, value in data.items() if name != "texts"}
    return "\n".join(map(_line, [rest, *_parts(data["texts"])]))


def unpacked(text: str) -> dict[str, Any]:
    """What ``packed`` was given."""
    rest, *parts = (json.loads(zlib.decompress(base64.b64decode(line))) for line in text.split("\n"))
    return {**rest, "texts": [each for part in parts for each in part]}


def _parts(texts: Iterable[str]) -> Iterator[list[str]]:
    part: list[str] = []
    held = 0
    for each in texts:
        part.append(each)
        held += len(each)
        if held >= PART:
            yield part
            part, held = [], 0
    if part:
        yield part


def _line(value: Any) -> str:
    written = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(zlib.compress(written.encode("utf-8", "surrogatepass"))).decode()
