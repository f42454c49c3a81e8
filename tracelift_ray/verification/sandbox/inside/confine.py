"""The steps that turn a fork of the server into a process that may run an untrusted program.

The order matters. ``confine`` performs the steps in the order of this table, and nowhere else is any of them taken:

====  ===================================  ============================================================================
step  what                                 why here
====  ===================================  ============================================================================
1     a session of its own                 signals of a terminal and of the server's group do not reach the program
2     descriptors to their places          through high numbers first: a source may stand where a target belongs
3     all other descriptors closed         the control channel, above all; before anything untrusted is read
4     user and group ids                   while the capabilities for it are still there
5     capabilities dropped                 nothing after this needs one
6     no_new_privs                         Landlock and seccomp demand it of a process without capabilities
7     killed with the server, undumpable   after 4 and 5, which undo both
8     the server still lives               it may have ended before 7, and then nobody would end the program
9     Landlock                             nothing after this opens a file
10    resource limits                      after 4: the number of threads is counted by user
11    the payload is read                  in the child only: what the server's memory holds, later forks inherit
12    seccomp                              last, because the steps above make calls that it refuses
13    ``STARTED`` is reported              from here on, whatever happens is the program's doing
====  ===================================  ============================================================================

A failure in any step is reported with its number, and no program is run.
"""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass

from tracelift_ray.verification.sandbox.inside import landlock, seccomp, syscalls

#: First byte of a report: the process is confined, or a step failed (its number and the error follow).
STARTED, SETUP_FAILED = b"R", b"E"
#: After ``STARTED``: the program does not compile.
DOES_NOT_COMPILE = b"C"
#: Where the report goes in a confined process; a program finds it closed.
_HIGH = 200
_SIGNALS_PENDING = 64


@dataclass(frozen=True)
class RunLimits:
    """What one run may use. CPU seconds here are a backstop for the server, which watches more closely."""

    cpu_s: float
    memory_bytes: int
    file_bytes: int
    max_files: int
    threads: int | None  # None: not to be counted, because the user has other processes


@dataclass(frozen=True)
class Confinement:
    """What all runs of a slot share.

    Attributes:
        slot_id: user and group id of programs; None: the server's own.
        rules: the descriptor of the Landlock rules; None: without Landlock.
        seccomp_filter: from ``seccomp.assemble``; None: without a filter.
        server: process id of the fork server, as its children see it.
    """

    slot_id: int | None
    rules: int | None
    seccomp_filter: bytes | None
    server: int


def confine(
    places: Mapping[int, int], payload: int, report: int, limits: RunLimits, confinement: Confinement
) -> tuple[bytes, int]:
    """Take every step of the module's table, or report the step that failed and end the process.

    Args:
        places: which descriptor (value) the program finds where (key).
        payload: descriptor of what to run, read whole and closed.
        report: descriptor on which to report.

    Returns:
        The payload, and the descriptor of the report in this process.
    """
    step = 1
    try:
        os.setsid()
        step = 2
        rules = confinement.rules
        kept = [report, payload] if rules is None else [report, payload, rules]
        high = [os.dup2(each, _HIGH + index, inheritable=False) for index, each in enumerate(kept)]
        report, payload = high[:2]
        _put(places, _HIGH + len(high))
        step = 3
        _close_all_but([*places, *high])
        step = 4
        if confinement.slot_id is not None:
            _take_id(confinement.slot_id)
        step = 5
        syscalls.drop_capabilities()
        step = 6
        syscalls.set_no_new_privileges()
        step = 7
        syscalls.die_with_parent()
        syscalls.set_undumpable()
        step = 8
        if os.getppid() != confinement.server:
            os._exit(1)
        step = 9
        if rules is not None:
            landlock.restrict(high[2])
            os.close(high[2])
        step = 10
        _limit(limits)
        step = 11
        content = _read_whole(payload)
        os.close(payload)
        step = 12
        if confinement.seccomp_filter is not None:
            seccomp.install(confinement.seccomp_filter, os.getpid())
        step = 13
        os.write(report, STARTED)
        return content, report
    except BaseException as error:  # Whatever it is, the program must not run; who asked is told, and decides.
        os.write(report, SETUP_FAILED + f"step {step}: {error!r}"[:300].encode(errors="replace"))
        os._exit(1)


def _put(places: Mapping[int, int], spare: int) -> None:
    moved = [(target, os.dup2(source, spare + index)) for index, (target, source) in enumerate(places.items())]
    for target, source in moved:
        os.dup2(source, target)


def _close_all_but(kept: list[int]) -> None:
    first = 0
    for descriptor in sorted(kept):
        if descriptor > first:
            syscalls.close_range(first, descriptor - 1)
        first = descriptor + 1
    syscalls.close_range(first, 2**32 - 1)


def _take_id(slot_id: int) -> None:
    try:
        os.setgroups([])
    except PermissionError:  # A user namespace whose groups are fixed; then there must be none.
        if os.getgroups():
            raise
    os.setresgid(slot_id, slot_id, slot_id)
    os.setresuid(slot_id, slot_id, slot_id)


def _limit(limits: RunLimits) -> None:
    cpu = math.ceil(limits.cpu_s)
    wanted = {
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NOFILE: limits.max_files,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_SIGPENDING: _SIGNALS_PENDING,
        resource.RLIMIT_AS: limits.memory_bytes,
    }
    if limits.threads is not None:
        wanted[resource.RLIMIT_NPROC] = limits.threads
    for each, value in wanted.items():
        resource.setrlimit(each, (value, value))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu + 1, cpu + 2))


def _read_whole(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
