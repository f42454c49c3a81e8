"""Verdicts on reference solutions, kept on disk so that a data set is checked once and not at every start.

A directory of JSONL files, each written whole by one check (renamed into place), so that runs on any number of machines
share it without locks and no line is ever torn. A verdict belongs to one program, its tests, the limits and tier it ran
under and the Python that ran it; all of them are hashed into its key.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import uuid
from dataclasses import asdict
from pathlib import Path

import xxhash

from tracelift_ray.config.identity import identity
from tracelift_ray.config.schema import SandboxConfig
from tracelift_ray.data.jsonl import read_records, write_lines
from tracelift_ray.records import RecordError
from tracelift_ray.types import CodeTests

#: Counts up where the same program, tests and limits may get another verdict.
RULES_VERSION = 1
_log = logging.getLogger(__name__)


class SolutionMemory:
    """Outcomes by key; an outcome is a pair: name (``types.Outcome`` or another short name) and detail for people.

    Args:
        directory: made where it is missing.
        sandbox: how programs are run.
        where: the tier or service that they run in; ``sandbox.tier`` may leave the choice to the machine.
    """

    def __init__(self, directory: str | Path, sandbox: SandboxConfig, where: str) -> None:
        self.directory = Path(directory)
        self._common = [RULES_VERSION, identity(sandbox), where, sys.version]
        self._known: dict[str, tuple[str, str]] = {}
        self._new: dict[str, tuple[str, str]] = {}
        self._read()

    def key(self, program: str, tests: CodeTests) -> str:
        """What a verdict on ``program`` is filed under."""
        parts = json.dumps([self._common, program, asdict(tests)], sort_keys=True)
        return xxhash.xxh3_128_hexdigest(parts.encode())

    def get(self, key: str) -> tuple[str, str] | None:
        """The outcome filed under ``key``, or None."""
        return self._known.get(key)

    def put(self, key: str, outcome: tuple[str, str]) -> None:
        """File an outcome; on disk only after ``save``."""
        self._known[key] = self._new[key] = outcome

    def save(self) -> None:
        """Write what is new. A disk that refuses it is logged: the next start checks these solutions again."""
        if not self._new:
            return
        lines = [{"key": key, "outcome": name, "detail": detail} for key, (name, detail) in self._new.items()]
        try:
            write_lines(self.directory / f"{uuid.uuid4().hex}.jsonl", lines)
        except OSError as error:
            _log.warning("checks of solutions are not kept, %s refuses them: %s", self.directory, error.strerror)
            return
        self._new.clear()

    def _read(self) -> None:
        for path in sorted(self.directory.glob("*.jsonl")):
            # One that is cleared away since the listing, or not for us to read: its solutions are run again.
            with contextlib.suppress(OSError), open(path, "rb") as stream:
                for _, record in read_records(stream):
                    if isinstance(record, RecordError):
                        continue
                    key, name, detail = record.get("key"), record.get("outcome"), record.get("detail")
                    if isinstance(key, str) and isinstance(name, str) and isinstance(detail, str):
                        self._known[key] = (name, detail)
