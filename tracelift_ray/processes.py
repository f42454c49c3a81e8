"""A process of a machine, told from a later one that was given its number."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Process:
    """A process.

    Attributes:
        started: when it started, in ticks since its machine did.
    """

    pid: int
    host: str
    started: int

    def described(self) -> dict[str, Any]:
        """As JSON values, from which the constructor makes it again."""
        return asdict(self)

    def lives(self) -> bool:
        """Whether it runs, where it is a process of this machine."""
        return start_of(self.pid) == self.started


def this_process() -> Process:
    """The one that asks."""
    pid = os.getpid()
    return Process(pid, platform.node(), start_of(pid) or 0)


def start_of(pid: int) -> int | None:
    """When a process of this machine started, in ticks; None where there is none, or only its exit code is left."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])
