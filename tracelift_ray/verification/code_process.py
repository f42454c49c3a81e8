"""One job in one process: hands it to the process server, reads what it writes, and reports how it ended.

Owns the server (``code_server.py``), which is started at the first job and again where it died. A job's processes are
gone before ``execute`` returns or raises, and when this process ends in whatever way.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tracelift_ray.types import InfrastructureError
from tracelift_ray.verification.code_server import STARTED

SERVER_STARTUP_S = 60.0
#: How long after its wall limit a job's end may be reported; where it is not, the host is overloaded.
REPORT_GRACE_S = 30.0
#: Size limit of any one file that a job writes.
FILE_BYTES = 16 * 1024**2
_POLL_S = 0.2
_CHUNK = 65536
_HASH_SEED = "0"


@dataclass(frozen=True)
class CodeLimits:
    """What one test may use: CPU and wall-clock seconds, address space in MiB, stdout and stderr together in KiB."""

    cpu_s: float
    wall_s: float
    memory_mib: int
    output_kib: int


@dataclass(frozen=True)
class Job:
    """A whole program that reads stdin (``test`` None), or a program and one test on it.

    ``secret`` is what the job's process reports when the test has passed.
    """

    program: str
    stdin: str = ""
    setup: str = ""
    test: str | None = None
    entry_point: str | None = None
    secret: bytes = b""


@dataclass(frozen=True)
class Ending:
    """How a job's process ended.

    Attributes:
        exit_code: negative for a signal, as in ``subprocess``.
        cpu_s: CPU seconds used, by waited-for children too.
        timed_out: ended at the wall limit.
        flooded: ended because it wrote more than the output limit.
        report: what the process said of itself once it had started; see ``code_server``.
        stdout, stderr: what it wrote, up to the output limit.
    """

    exit_code: int
    cpu_s: float
    timed_out: bool
    flooded: bool
    report: bytes
    stdout: bytes
    stderr: bytes


class ProcessServer:
    """Executes jobs under limits, several at a time if several threads ask.

    Results do not depend on hash randomisation: every job runs with the same hash seed.
    """

    def __init__(self, limits: CodeLimits) -> None:
        self.limits = limits
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._closed = False

    def execute(self, job: Job) -> Ending:
        """Runs a job in a directory of its own, which is removed. Raises InfrastructureError where it cannot."""
        try:
            directory = tempfile.mkdtemp(prefix="tracelift-job-")
        except OSError as error:
            raise InfrastructureError("verifier", f"no directory for a program ({error})") from error
        try:
            with contextlib.ExitStack() as stack:
                return self._execute(job, directory, stack)
        except OSError as error:
            raise InfrastructureError("verifier", f"a program could not be run ({error})") from error
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def close(self) -> None:
        """End the server and every job; ``execute`` then raises InfrastructureError."""
        self._closed = True
        with self._lock:
            self._stop()

    def _execute(self, job: Job, directory: str, stack: contextlib.ExitStack) -> Ending:
        fields = {name: getattr(job, name) for name in ("program", "setup", "test", "entry_point", "secret")}
        job_file = _file(stack, marshal.dumps(fields))
        stdin = _file(stack, job.stdin.encode("utf-8", "surrogateescape"))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stack.callback(ours.close)
        with contextlib.ExitStack() as handed:
            handed.callback(theirs.close)
            out, out_writing = _pipe(stack, handed)
            err, err_writing = _pipe(stack, handed)
            self._send(directory, [job_file.fileno(), stdin.fileno(), out_writing, err_writing, theirs.fileno()])
        return self._watch(_Output(out), _Output(err), ours)

    def _watch(self, out: _Output, err: _Output, control: socket.socket) -> Ending:
        """Reads the outputs until the supervisor reports the job's end."""
        limit = self.limits.output_kib * 1024
        waiting_s = self.limits.wall_s + REPORT_GRACE_S
        deadline = time.monotonic() + waiting_s
        flooded = False
        with selectors.DefaultSelector() as selector:
            for source in (out, err, control):
                selector.register(source, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select(_POLL_S)}
                for output in (out, err):
                    if output in ready and not output.read():
                        selector.unregister(output)
                if not flooded and out.size + err.size > limit:
                    flooded = True
                    control.shutdown(socket.SHUT_WR)  # The supervisor ends the job, then reports as ever.
                if control in ready:
                    return self._ending(out, err, control)
                if self._closed:
                    raise InfrastructureError("verifier", "closed while a program was running")
                if time.monotonic() > deadline:
                    raise InfrastructureError(
                        "verifier", f"a program's end was not reported in {waiting_s:g} s; check the load of its host"
                    )

    def _ending(self, out: _Output, err: _Output, control: socket.socket) -> Ending:
        """The job's end as its supervisor reports it, with what is left to read of its outputs."""
        message = control.recv(_CHUNK)
        if not message:
            raise InfrastructureError("verifier", "a program's supervisor died; check the memory of its host")
        exit_code, cpu_s, timed_out, report = marshal.loads(message)
        limit = self.limits.output_kib * 1024
        out.read_rest(limit)
        err.read_rest(limit)
        if not report.startswith(STARTED):
            words = err.content(limit).decode(errors="replace").strip().rpartition("\n")[2]
            raise InfrastructureError("verifier", f"a program's process did not start ({words or 'it was killed'})")
        return Ending(
            exit_code=exit_code,
            cpu_s=cpu_s,
            timed_out=timed_out,
            flooded=out.size + err.size > limit,
            report=report.removeprefix(STARTED),
            stdout=out.content(limit),
            stderr=err.content(limit),
        )

    def _send(self, directory: str, descriptors: list[int]) -> None:
        """Hands a job to the server; a server that died since the last job is replaced once."""
        message = marshal.dumps(
            {
                "directory": directory,
                "cpu_s": self.limits.cpu_s,
                "wall_s": self.limits.wall_s,
                "memory_bytes": self.limits.memory_mib * 1024**2,
                "file_bytes": FILE_BYTES,
            }
        )
        with self._lock:
            try:
                socket.send_fds(self._started(), [message], descriptors)
            except OSError:
                self._stop()
                socket.send_fds(self._started(), [message], descriptors)

    def _started(self) -> socket.socket:
        if self._closed:
            raise InfrastructureError("verifier", "used after it was closed")
        if self._socket is not None:
            return self._socket
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(SERVER_STARTUP_S)
        script = Path(__file__).with_name("code_server.py")
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-s", "-P", "-X", "utf8", str(script), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PYTHONHASHSEED": _HASH_SEED},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._socket = ours
        try:
            ready = ours.recv(16)
        except TimeoutError:
            ready = b""
        if not ready:
            self._stop()
            raise InfrastructureError(
                "verifier", f"the process server gave no sign of life within {SERVER_STARTUP_S:g} s; check {script}"
            )
        return ours

    def _stop(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._socket = self._process = None


class _Output:
    """The reading end of a pipe, never blocked on."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._chunks: list[bytes] = []
        self.size = 0
        os.set_blocking(descriptor, False)

    def fileno(self) -> int:
        return self._descriptor

    def read(self) -> bool:
        """Reads a chunk if there is one. False where there will be no more."""
        try:
            chunk = os.read(self._descriptor, _CHUNK)
        except BlockingIOError:
            return True
        self._chunks.append(chunk)
        self.size += len(chunk)
        return bool(chunk)

    def read_rest(self, limit: int) -> None:
        """Reads what is there, until the size passes ``limit``."""
        before = -1
        while before < self.size <= limit:
            before = self.size
            self.read()

    def content(self, limit: int) -> bytes:
        return b"".join(self._chunks)[:limit]


def _file(stack: contextlib.ExitStack, content: bytes) -> IO[bytes]:
    """An unnamed file that holds ``content``, to be read from its start."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the stack closes it
    stack.callback(file.close)
    file.write(content)
    file.seek(0)
    return file


def _pipe(reading_until: contextlib.ExitStack, writing_until: contextlib.ExitStack) -> tuple[int, int]:
    reading, writing = os.pipe()
    reading_until.callback(os.close, reading)
    writing_until.callback(os.close, writing)
    return reading, writing
