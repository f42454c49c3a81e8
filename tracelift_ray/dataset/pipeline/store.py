"""What a stage of a build made, item by item on disk: a build that ends at any moment goes on where it was.

Each finished item is one appended line. An item is found again by what it was made from (the stage's settings and its
input), so that a change of either makes it again, and nothing else does. A line that a crash tore is dropped.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import xxhash

from tracelift_ray.errors import DataError


class ItemStore:
    """The items of one stage in one file; only where they are is held in memory.

    ``settings`` is all that the stage's output depends on beside its input. Raises DataError where another build writes
    to the file, or a line of it is no item.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._settings = _canonical(settings)
        self._file: BinaryIO = open(path, "a+b")  # noqa: SIM115  (held open, and locked, until close)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise DataError(f"{path} is being written by another build: wait for it, or give another out") from None
        self._places = self._read()

    def get(self, made_from: Mapping[str, Any]) -> Any | None:
        """What the stage made from this input, or None."""
        place = self._places.get(self._key(made_from))
        return None if place is None else json.loads(os.pread(self._file.fileno(), place[1], place[0]))["value"]

    def put(self, made_from: Mapping[str, Any], problem_id: str, value: Any) -> None:
        """Keep what the stage made; it outlives this process from here on."""
        key = self._key(made_from)
        text = json.dumps({"key": key, "problem_id": problem_id, "value": value}, ensure_ascii=False)
        line = text.encode("utf-8", "backslashreplace") + b"\n"
        self._file.write(line)
        self._file.flush()
        self._places[key] = (self._end, len(line))
        self._end += len(line)

    def close(self) -> None:
        """Close the file, and let others have it."""
        self._file.close()

    def _key(self, made_from: Mapping[str, Any]) -> str:
        return xxhash.xxh3_128_hexdigest(f"{self._settings}\n{_canonical(made_from)}".encode("utf-8", "replace"))

    def _read(self) -> dict[str, tuple[int, int]]:
        """Where each item is: first byte and length of its line. The file then ends with its last whole line."""
        self._file.seek(0)
        self._end = 0
        places: dict[str, tuple[int, int]] = {}
        for number, line in enumerate(self._file, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                item = json.loads(line)
                places[item["key"]] = (self._end, len(line))
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{self._path}:{number}: is no item of a build; delete the file to start again"
                ) from error
            self._end += len(line)
        self._file.truncate(self._end)
        return places


def _canonical(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
