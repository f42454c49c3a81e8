"""The process that untrusted programs are forked from: a clean interpreter that never runs any of them itself.

Run as a file by ``code_runner.SubprocessRunner``; it imports nothing of this project. Three roles, each a process:

- the *server* receives one message a test, with five descriptors (job, stdin, stdout, stderr, control), and forks
- the *supervisor* of that test, which forks the program, ends its process group at the deadline, when ``control`` is
  shut down, or when the program is over, and reports on ``control`` how it ended; in turn
- the *program* gets limits, an empty environment and a directory of its own, and runs the job.

A fork takes about a millisecond where a new interpreter takes twenty.
"""

from __future__ import annotations

import array
import builtins
import marshal
import os
import resource
import signal
import socket
import sys
import time
from contextlib import suppress
from io import BufferedReader, BufferedWriter, FileIO, TextIOWrapper
from types import CodeType, TracebackType
from typing import Any

#: What a program's process reports first, once its limits are set.
STARTED = b"S"
#: What it reports then, before it ends; a pass is reported by the job's secret.
DOES_NOT_COMPILE, WRONG_ANSWER, OUT_OF_MEMORY = b"C", b"W", b"M"
#: How often a supervisor looks whether it was told to stop.
POLL_S = 0.05
_NUM_DESCRIPTORS = 5
_TEST_FILE = "<test>"


def main() -> None:
    """Serves until the socket closes. In a program's process this returns, so that the program ends as programs do."""
    server = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server.send(b"ready")
    while True:
        message, ancillary, _, _ = server.recvmsg(65536, socket.CMSG_SPACE(_NUM_DESCRIPTORS * 4))
        if not message:
            return
        descriptors = array.array("i", ancillary[0][2])
        if os.fork() == 0:
            server.close()
            report = supervise(marshal.loads(message), list(descriptors))
            os.write(report, STARTED)
            run(descriptors[0], report)
            return
        for descriptor in descriptors:
            os.close(descriptor)


def supervise(settings: dict[str, Any], descriptors: list[int]) -> int:
    """Supervises one program. Returns only in the program's process: the descriptor on which it reports."""
    control = socket.socket(fileno=descriptors[4])
    control.setblocking(False)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    reading, report = os.pipe()
    program = os.fork()
    if program == 0:
        control.close()
        os.close(reading)
        confine(settings, descriptors)
        return report
    os.close(report)
    for descriptor in descriptors[:4]:
        os.close(descriptor)
    deadline = time.monotonic() + settings["wall_s"]
    timed_out = False
    while os.waitid(os.P_PID, program, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        timed_out = time.monotonic() > deadline
        if timed_out or _told_to_stop(control):
            break
        signal.sigtimedwait({signal.SIGCHLD}, POLL_S)
    _end_group(program)
    _, status, usage = os.wait4(program, 0)
    os.set_blocking(reading, False)
    try:
        reported = os.read(reading, 256)
    except BlockingIOError:
        reported = b""
    control.setblocking(True)
    ending = (os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, timed_out, reported)
    control.send(marshal.dumps(ending))
    os._exit(0)


def _told_to_stop(control: socket.socket) -> bool:
    try:
        return not control.recv(1)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def _end_group(program: int) -> None:
    """Kill the program and its process group. It is not reaped yet, so the numbers are still its own."""
    os.kill(program, signal.SIGKILL)
    with suppress(ProcessLookupError):  # It ended before it had a group of its own.
        os.killpg(program, signal.SIGKILL)


def confine(settings: dict[str, Any], descriptors: list[int]) -> None:
    """A session, standard streams, a directory, an environment and limits for this process."""
    os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    for target, descriptor in enumerate(descriptors[1:4]):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.chdir(settings["directory"])
    os.environ.clear()
    os.environ.update(HOME=settings["directory"], TMPDIR=settings["directory"])
    cpu = -int(-settings["cpu_s"] // 1)  # Whole seconds, rounded up; the exact limit is checked on what was used.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, settings["file_bytes"]),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_AS, settings["memory_bytes"]),
    ):
        resource.setrlimit(limit, (value, value))
    sys.stdin = _stream(0, "r", "surrogateescape")
    sys.stdout = _stream(1, "w", "surrogateescape")
    sys.stderr = _stream(2, "w", "backslashreplace")
    sys.argv = ["program.py"]
    builtins.exit = builtins.quit = sys.exit  # type: ignore[assignment]  # ``site``, which is not loaded, adds them


def _stream(descriptor: int, mode: str, errors: str) -> TextIOWrapper:
    """A standard stream; as ever, ``stderr`` shows each line at once and ``stdout`` is buffered."""
    raw = FileIO(descriptor, mode, closefd=False)
    if mode == "r":
        return TextIOWrapper(BufferedReader(raw), encoding="utf-8", errors=errors)
    return TextIOWrapper(BufferedWriter(raw), encoding="utf-8", errors=errors, line_buffering=descriptor == 2)


def run(job_descriptor: int, report: int) -> None:
    """Runs a job: a whole program (stdio), or a program and one test on it (function).

    A test's set-up runs before the program, which may use its imports, and after it, because it may use the program.
    """
    with open(job_descriptor, "rb") as file:
        job = marshal.load(file)
    module = type(sys)("__main__" if job["test"] is None else "program")
    sys.modules[module.__name__] = module
    module.__dict__["__builtins__"] = builtins
    write, leave = os.write, os._exit
    try:
        code = compile(job["program"], "program.py", "exec")
    except (SyntaxError, ValueError, MemoryError, RecursionError, OverflowError) as error:
        write(report, DOES_NOT_COMPILE)
        sys.stderr.write(f"{type(error).__name__}: {error}")
        sys.stderr.flush()
        leave(1)
    try:
        if job["test"] is not None:
            with suppress(Exception):  # Set-up that needs the program, which is not there yet, runs after it only.
                exec(_compiled(job["setup"], "<setup>"), module.__dict__)
        exec(code, module.__dict__)
        if job["test"] is not None:
            run_test(job, module.__dict__)
            write(report, job["secret"])
            leave(0)
    except MemoryError:
        write(report, OUT_OF_MEMORY)
        raise
    except AssertionError as error:
        if job["test"] is not None and _raised_in(error.__traceback__) == _TEST_FILE:
            write(report, WRONG_ANSWER)
        raise


def run_test(job: dict[str, Any], namespace: dict[str, Any]) -> None:
    """The set-up and the test, beside the program; with an entry point the test defines ``check(candidate)``."""
    exec(_compiled(job["setup"], "<setup>"), namespace)
    exec(_compiled(job["test"], _TEST_FILE), namespace)
    if job["entry_point"] is not None:
        namespace["check"](namespace[job["entry_point"]])


def _compiled(source: str, name: str) -> CodeType:
    return compile(source, name, "exec")


def _raised_in(traceback: TracebackType | None) -> str | None:
    """The file of the innermost frame."""
    name = None
    while traceback is not None:
        name = traceback.tb_frame.f_code.co_filename
        traceback = traceback.tb_next
    return name


if __name__ == "__main__":
    main()
