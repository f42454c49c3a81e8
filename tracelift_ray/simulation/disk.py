"""The simulated disk: a directory in memory that fills up, and of which a dead process leaves what it had written.

After ``kill`` all that was written is there; after a loss of ``power`` what was not flushed is cut.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracelift_ray.simulation.clock import Killed


class SimulatedDisk:
    """The files of one run. It stands for the module ``os`` where checkpoints are written.

    Attributes:
        root: the directory as the present process sees it.
    """

    def __init__(self) -> None:
        shared = Path("/dev/shm")
        self._base = Path(tempfile.mkdtemp(prefix="tracelift-sim-", dir=shared if shared.is_dir() else None))
        self._lives = 0
        self.root = self._base / "0"
        self._flushed: set[int] = set()
        self.take: Callable[[str], str] = lambda where: ""
        self.die: Callable[[str], None] = lambda kind: None
        self.root.mkdir()

    def lose_process(self, kind: str) -> None:
        """The process died: what it does from now on reaches no file."""
        self._lives += 1
        self.root = self.root.rename(self._base / str(self._lives))
        if kind == "power":
            for path in sorted(self.root.rglob("*")):
                if path.is_file() and path.stat().st_ino not in self._flushed:
                    os.truncate(path, path.stat().st_size // 2)

    def remove(self) -> None:
        """The run is over: leave nothing."""
        shutil.rmtree(self._base)

    def fsync(self, handle: int) -> None:
        """As ``os.fsync``."""
        self._strike()
        self._flushed.add(os.fstat(handle).st_ino)

    def rename(self, source: Any, target: Any) -> None:
        """As ``os.rename``."""
        self._strike()
        os.rename(source, target)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def _strike(self) -> None:
        fault = self.take("disk")
        if fault == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if fault:
            self.die(fault)
            raise Killed
