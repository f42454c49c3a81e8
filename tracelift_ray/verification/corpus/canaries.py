"""What the attacks of a corpus are after: files, sockets, an environment variable and a process, set up and watched.

Programs of a corpus name them as below; ``Canaries.aim`` puts this run's own names in their place, so that corpora that
run at the same time do not disturb one another:

============================  =========================================================================================
``/tmp/sandbox_canary``       a folder with the files ``FILES``
``/tmp/sandbox_canary_ray``   a folder of sockets, laid out as Ray's
``\\0sandbox_canary_abstract``  an abstract socket
47321                         a port on loopback, for TCP and UDP
7771                          the seconds that a process sleeps which an attack starts; no honest process does
============================  =========================================================================================

Beside them stand the variable ``CANARY_TOKEN`` in this process's environment, and a process of the same user.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import selectors
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import tenacity

from tracelift_ray.errors import InfrastructureError

#: The beginning of all names, and the numbers, as programs have them.
NAME, PORT, MARK = "sandbox_canary", "47321", "7771"
FOLDER = Path("/tmp")
TOKEN = "CANARY-ENV-4411"
SECRET = "CANARY-FILE-9917\n"
FILES = ("deleteme.txt", "secret.txt")
#: Ports that are tried before this process gives up to find one that is free for TCP and UDP.
PORT_TRIES = 50
#: Programs run by root are users from this id on.
SLOT_IDS = 60_000
#: Disk space that others may use up while one program runs.
DISK_SLACK_BYTES = 2 * 1024**3
#: Where an attack may try to leave a file; what programs own there is listed before and after.
WATCHED = (Path("/dev/shm"), Path("/tmp"), Path("/var/tmp"), Path("/etc"), Path("/"), Path("/usr/lib"), Path.cwd())


class Canaries:
    """The fixtures. ``breaches`` says what the programs since the last call did to them."""

    def __init__(self) -> None:
        self.name = f"{NAME}_{secrets.token_hex(4)}"
        self._mark = str(10**6 + secrets.randbelow(10**7))
        self._files, self._sockets = FOLDER / self.name, FOLDER / f"{self.name}_ray"
        with contextlib.ExitStack() as stack:
            self._make_files(stack)
            internet = _internet(stack)
            self._port = str(internet[0].getsockname()[1])
            self._listeners = [*internet, *self._unix(stack)]
            # So many seconds that its command line is no other corpus's.
            self._victim = subprocess.Popen(["sleep", f"8{self._mark}"], stdin=subprocess.DEVNULL)
            stack.callback(self._victim.wait)
            stack.callback(self._victim.kill)
            stack.callback(self._remove_planted)
            self._seen = self._listing()
            self._free = _free_bytes()
            self.close = stack.pop_all().close

    def aim(self, program: str) -> str:
        """The program with the names and numbers of these fixtures in it."""
        program = program.replace(NAME, self.name)
        for theirs, ours in ((PORT, self._port), (MARK, self._mark)):
            program = re.sub(rf"\b{theirs}\b", ours, program)
        return program

    def breaches(self) -> list[str]:
        """One line for each thing that should not have been possible."""
        found = [*self._changed_files(), *self._connections()]
        if self._victim.poll() is not None:
            found.append("a process of the same user was ended")
        listing = self._listing()
        found += [f"appeared: {path}" for path in sorted(listing - self._seen)]
        self._seen = listing
        before, self._free = self._free, _free_bytes()
        if self._free < before - DISK_SLACK_BYTES:
            found.append("the disk was filled")
        found += [f"outlived its run: process {process}" for process in _processes_with(self._mark)]
        return found

    def _make_files(self, stack: contextlib.ExitStack) -> None:
        self._files.mkdir()
        stack.callback(shutil.rmtree, self._files, ignore_errors=True)
        self._files.chmod(0o777)
        for name in FILES:
            (self._files / name).write_text(SECRET)
            (self._files / name).chmod(0o644)

    def _unix(self, stack: contextlib.ExitStack) -> list[socket.socket]:
        directory = self._sockets / "session_latest" / "sockets"
        stack.callback(shutil.rmtree, self._sockets, ignore_errors=True)
        directory.mkdir(parents=True)
        listeners = []
        for kind, address in (
            (socket.SOCK_STREAM, str(directory / "raylet")),
            (socket.SOCK_DGRAM, str(directory / "raylet_dgram")),
            (socket.SOCK_STREAM, f"\0{self.name}_abstract"),
        ):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
            listener.bind(address)
            if address[0] != "\0":
                os.chmod(address, 0o777)
            listeners.append(_listening(listener))
        return listeners

    def _changed_files(self) -> list[str]:
        found = []
        for name in FILES:
            path = self._files / name
            try:
                status = path.stat()
                if stat.S_IMODE(status.st_mode) != 0o644 or status.st_mtime < 1000 or path.read_text() != SECRET:
                    found.append(f"changed: {path}")
            except OSError as error:
                found.append(f"changed: {path} ({error.strerror})")
        return found + [f"appeared: {path}" for path in sorted(self._files.iterdir()) if path.name not in FILES]

    def _listing(self) -> set[str]:
        """Files in the watched directories that a program could own: run as root, programs have separate ids.

        What has the name of another corpus is left out.
        """
        found = set()
        for directory in WATCHED:
            with contextlib.suppress(OSError), os.scandir(directory) as entries:
                found |= {
                    entry.path
                    for entry in entries
                    if _of_a_program(entry) and (not entry.name.startswith(NAME) or entry.name.startswith(self.name))
                }
        return found

    def _remove_planted(self) -> None:
        """Remove what a program left under this corpus's name in the watched directories."""
        for path in (path for directory in WATCHED for path in directory.glob(f"{self.name}*")):
            with contextlib.suppress(OSError):  # folders are the fixtures, which are removed in their turn
                path.unlink()

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
    """The fixtures for one corpus. Raises InfrastructureError where they cannot be made."""
    before = os.environ.get("CANARY_TOKEN")
    os.environ["CANARY_TOKEN"] = TOKEN
    try:
        watched = Canaries()
    except OSError as error:
        raise InfrastructureError("corpus", f"what its attacks are after could not be set up ({error})") from error
    try:
        yield watched
    finally:
        watched.close()
        if before is None:
            del os.environ["CANARY_TOKEN"]
        else:
            os.environ["CANARY_TOKEN"] = before


@tenacity.retry(
    stop=tenacity.stop_after_attempt(PORT_TRIES), retry=tenacity.retry_if_exception_type(OSError), reraise=True
)
def _internet(stack: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
    """Listeners for TCP and UDP on the same port. Raises OSError where none is free for both."""
    with contextlib.ExitStack() as attempt:
        stream = attempt.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        datagram = attempt.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        stream.bind(("127.0.0.1", 0))
        datagram.bind(stream.getsockname())  # Another process may have this one.
        stack.enter_context(attempt.pop_all())
        return _listening(stream), _listening(datagram)


def _of_a_program(entry: os.DirEntry[str]) -> bool:
    try:
        owner = entry.stat(follow_symlinks=False).st_uid
    except OSError:  # it is gone meanwhile
        return False
    return owner >= SLOT_IDS if os.geteuid() == 0 else owner == os.geteuid()


def _free_bytes() -> int:
    status = os.statvfs("/")
    return status.f_bavail * status.f_frsize


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


def _processes_with(word: str) -> list[int]:
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with contextlib.suppress(OSError):
                if word.encode() in (directory / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(directory.name))
    return found
