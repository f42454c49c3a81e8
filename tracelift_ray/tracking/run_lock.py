"""One run at a time in a directory: a lock that names its owner.

The operating system's lock decides, which a process cannot leave behind; on a shared file system it holds between
machines where that supports locks. The file says who has it, for people, and decides where the file system does not: an
owner on this machine is looked up by its process, one elsewhere shows that it lives by touching the file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tracelift_ray.processes import Process, this_process
from tracelift_ray.tracking.alive import heartbeat
from tracelift_ray.tracking.run_dir import RunDirectoryError, make_directory

FILE = "run.lock"
#: Seconds between two touches of the file by its owner.
TOUCH_S = 10.0
#: Seconds without one after which an owner on another machine is taken for gone.
SILENT_S = 45.0
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@dataclass(frozen=True)
class Owner:
    """Who has a lock, and when it took it, for people."""

    process: Process
    since: str

    def __str__(self) -> str:
        return f"process {self.process.pid} on {self.process.host}, since {self.since}"


@contextlib.contextmanager
def only_run(folder: Path, say: Callable[[str], None], silent_s: float = SILENT_S) -> Iterator[None]:
    """Keep other runs out of ``folder``, which is made if missing, inside the ``with``.

    ``say`` learns where the lock of a dead owner is taken over.

    Raises:
        RunDirectoryError: the directory cannot be used, or another run is in there; names it and the ways out.
    """
    make_directory(folder)
    path = folder / FILE
    with _opened(path) as file:
        before = _owner(path)
        if not _locked(file.fileno()) or (before is not None and _lives(before, path, say, silent_s)):
            raise RunDirectoryError(
                f"run_dir: another run is in {folder} ({before or 'it does not say which'}); wait for its end, end it, "
                "or choose another name (or run_dir)"
            )
        if before is not None:
            say(f"{folder}: took over from {before}, which ended without a word")
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        _write(file.fileno(), json.dumps({"process": this_process().described(), "since": since}) + "\n")
        done = threading.Event()
        touching = threading.Thread(target=_touch, args=(path, done), daemon=True)
        touching.start()
        try:
            yield
        finally:
            done.set()
            _write(file.fileno(), "")


def _opened(path: Path) -> TextIO:
    try:
        return path.open("a+", encoding="utf-8")
    except OSError as error:
        right = "of a run of another user, perhaps; choose another name (or run_dir)"
        raise RunDirectoryError(f"run_dir: cannot write {path} ({error.strerror or error}), {right}") from error


def _locked(handle: int) -> bool:
    """Whether the lock of an open file is ours now; True, too, where the file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _lives(owner: Owner, path: Path, say: Callable[[str], None], silent_s: float) -> bool:
    """Whether an owner whose lock is free, or unknown, goes on all the same."""
    this = this_process()
    if owner.process.host == this.host:
        return owner.process != this and owner.process.lives()
    waiting = f"{path.parent}: waiting {silent_s:g} s for a sign of {owner}"
    with heartbeat(say, waiting) as beat:
        beat.say(waiting)
        seen, ends = _touched(path), time.monotonic() + silent_s
        while time.monotonic() < ends:
            time.sleep(min(1.0, silent_s))
            if _touched(path) != seen:
                return True
    return False


def _owner(path: Path) -> Owner | None:
    """Who wrote the file; None where the last one left in order, or it cannot be read."""
    try:
        known = json.loads(path.read_text("utf-8"))
        return Owner(Process(**known["process"]), known["since"])
    except (ValueError, TypeError, KeyError):
        return None


def _touched(path: Path) -> int:
    with path.open("rb") as file:  # opening asks a file server again
        return os.fstat(file.fileno()).st_mtime_ns


def _touch(path: Path, done: threading.Event) -> None:
    while not done.wait(TOUCH_S):
        with contextlib.suppress(OSError):
            os.utime(path)


def _write(handle: int, text: str) -> None:
    os.ftruncate(handle, 0)
    os.write(handle, text.encode())
