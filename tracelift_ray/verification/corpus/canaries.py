"""What the attacks of a corpus are after: files, sockets, an environment variable and a process, set up and watched.

Everything is fixed by the programs of a corpus: the files below ``/tmp/sandbox_canary``, the sockets below
``/tmp/sandbox_canary_ray`` (laid out as Ray's), the abstract socket ``\\0sandbox_canary_abstract``, port 47321 on
loopback for TCP and UDP, the variable ``CANARY_TOKEN``, and a process of the same user. One corpus runs at a time on a
machine; a lock holds that.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tracelift_ray.types import InfrastructureError

CANARIES = Path("/tmp/sandbox_canary")
SOCKETS = Path("/tmp/sandbox_canary_ray")
TOKEN = "CANARY-ENV-4411"
SECRET = "CANARY-FILE-9917\n"
FILES = ("deleteme.txt", "secret.txt")
PORT = 47321
#: Attacks that start processes let them sleep so many seconds, which no honest process does.
MARK = b"7771"
#: Programs run by root are users from this id on.
SLOT_IDS = 60_000
#: How long a corpus waits for another one.
OTHERS_S = 300.0
#: Disk space that others may use up while one program runs.
DISK_SLACK_BYTES = 2 * 1024**3
#: Where an attack may try to leave a file; what programs own there is listed before and after.
WATCHED = (Path("/dev/shm"), Path("/tmp"), Path("/var/tmp"), Path("/etc"), Path("/"), Path("/usr/lib"), Path.cwd())


class Canaries:
    """The fixtures. ``breaches`` tells what the programs since the last call did to them."""

    def __init__(self) -> None:
        self._listeners = [*self._internet(), *self._unix()]
        self._victim = subprocess.Popen(["sleep", "86400"], stdin=subprocess.DEVNULL)
        self._seen = _listing()
        self._free = _free_bytes()

    def breaches(self) -> list[str]:
        """One line for each thing that should not have been possible."""
        found = [*_changed_files(), *self._connections()]
        if self._victim.poll() is not None:
            found.append("a process of the same user was ended")
        listing = _listing()
        found += [f"appeared: {path}" for path in sorted(listing - self._seen)]
        self._seen = listing
        before, self._free = self._free, _free_bytes()
        if self._free < before - DISK_SLACK_BYTES:
            found.append("the disk was filled")
        found += [f"outlived its run: process {process}" for process in _marked_processes()]
        return found

    def close(self) -> None:
        """Remove everything."""
        self._victim.kill()
        self._victim.wait()
        for listener in self._listeners:
            listener.close()
        shutil.rmtree(CANARIES, ignore_errors=True)
        shutil.rmtree(SOCKETS, ignore_errors=True)

    def _internet(self) -> Iterator[socket.socket]:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            listener = socket.socket(socket.AF_INET, kind)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", PORT))
            yield _listening(listener)

    def _unix(self) -> Iterator[socket.socket]:
        directory = SOCKETS / "session_latest" / "sockets"
        directory.mkdir(parents=True)
        addresses = (
            (socket.SOCK_STREAM, str(directory / "raylet")),
            (socket.SOCK_DGRAM, str(directory / "raylet_dgram")),
            (socket.SOCK_STREAM, "\0sandbox_canary_abstract"),
        )
        for kind, address in addresses:
            listener = socket.socket(socket.AF_UNIX, kind)
            listener.bind(address)
            if address[0] != "\0":
                os.chmod(address, 0o777)
            yield _listening(listener)

    def _connections(self) -> list[str]:
        found = []
        with selectors.DefaultSelector() as selector:
            for listener in self._listeners:
                selector.register(listener, selectors.EVENT_READ)
            while ready := selector.select(0):
                for key, _ in ready:
                    assert isinstance(key.fileobj, socket.socket)
                    found.append(f"reached: {key.fileobj.getsockname()!r}")
                    _take(key.fileobj)
        return found


@contextlib.contextmanager
def canaries() -> Iterator[Canaries]:
    """The fixtures for one corpus. Raises InfrastructureError where another one runs for longer than ``OTHERS_S``."""
    with _only_one():
        _make_files()
        before = os.environ.get("CANARY_TOKEN")
        os.environ["CANARY_TOKEN"] = TOKEN
        watched = Canaries()
        try:
            yield watched
        finally:
            watched.close()
            if before is None:
                del os.environ["CANARY_TOKEN"]
            else:
                os.environ["CANARY_TOKEN"] = before


@contextlib.contextmanager
def _only_one() -> Iterator[None]:
    """Hold a lock that dies with this process: an abstract socket's name can be bound once."""
    deadline = time.monotonic() + OTHERS_S
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lock:
        while True:
            try:
                lock.bind("\0tracelift-ray-corpus")
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    cause = f"waited {OTHERS_S:g} s for another corpus on this machine to end ({error.strerror})"
                    raise InfrastructureError("corpus", cause) from error
                time.sleep(0.5)
        yield


def _make_files() -> None:
    for directory in (CANARIES, SOCKETS):
        try:
            if directory.exists():
                shutil.rmtree(directory)
        except OSError as error:
            cause = f"{directory} was left by another user's corpus ({error.strerror}): remove it"
            raise InfrastructureError("corpus", cause) from error
    CANARIES.mkdir()
    CANARIES.chmod(0o777)
    for name in FILES:
        (CANARIES / name).write_text(SECRET)
        (CANARIES / name).chmod(0o644)


def _changed_files() -> list[str]:
    found = []
    for name in FILES:
        path = CANARIES / name
        try:
            status = path.stat()
            if stat.S_IMODE(status.st_mode) != 0o644 or status.st_mtime < 1000 or path.read_text() != SECRET:
                found.append(f"changed: {path}")
        except OSError as error:
            found.append(f"changed: {path} ({error.strerror})")
    return found + [f"appeared: {path}" for path in sorted(CANARIES.iterdir()) if path.name not in FILES]


def _free_bytes() -> int:
    status = os.statvfs("/")
    return status.f_bavail * status.f_frsize


def _listing() -> set[str]:
    """Files in the watched directories that a program could own: run as root, programs have ids of their own."""
    found = set()
    for directory in WATCHED:
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                owner = entry.stat(follow_symlinks=False).st_uid
                if owner >= SLOT_IDS if os.geteuid() == 0 else owner == os.geteuid():
                    found.add(entry.path)
    return found


def _listening(listener: socket.socket) -> socket.socket:
    if listener.type == socket.SOCK_STREAM:
        listener.listen(50)
    listener.setblocking(False)
    return listener


def _take(listener: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        if listener.type == socket.SOCK_STREAM:
            listener.accept()[0].close()
        else:
            listener.recv(100)


def _marked_processes() -> list[int]:
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with contextlib.suppress(OSError):
                if MARK in (directory / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(directory.name))
    return found
