"""The steps that turn a fork of the server into a process that may run an untrusted program.

The order matters. ``prepare`` lists the calls in the order of this table, ``confine`` makes them, and nowhere else is
any of these steps taken:

====  ===================================  ============================================================================
step  what                                 why here
====  ===================================  ============================================================================
1     a separate process group             signals of the server's group do not reach it; the server's session has no
                                           terminal, and a process that does not lead it can take none
2     descriptors to their places          a source never stands where a target belongs: the server keeps those taken
3     all other descriptors closed         the control channel, above all; before anything untrusted is read
4     user and group ids                   while the capabilities for it are still there
5     capabilities dropped                 nothing after this needs one
6     no_new_privs                         Landlock and seccomp demand it of a process without capabilities
7     killed with the server, undumpable   after 4 and 5, which undo both
8     the server still lives               it may have ended before 7, and then nothing would end the program
9     Landlock                             nothing after this opens a file
10    resource limits                      after 4: the number of threads is counted by user
11    the payload is read                  in the child only: what the server's memory holds, later forks inherit
12    seccomp                              last, because the steps above make calls that it refuses
13    ``STARTED`` is reported              from here on, the program causes what happens
====  ===================================  ============================================================================

A failure in any step is reported with its number, and no program is run.

The server prepares what it can before it forks, and the child goes through a list of calls: the kernel copies each page
that Python touches in a fork, which takes longer than the calls themselves.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import os
import resource
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tracelift_ray.verification.sandbox.inside import landlock, syscalls
from tracelift_ray.verification.sandbox.inside.seccomp import Filter

#: First byte of a report: the process is confined, or a step failed (its number and the error follow).
STARTED, SETUP_FAILED = b"R", b"E"
#: After ``STARTED``: the program does not compile.
DOES_NOT_COMPILE = b"C"
#: Descriptors below this are places of programs: the server keeps each of them open, so that it gets none of them.
PLACES = 6
_SIGNALS_PENDING = 64

#: A step's number, and the call.
Step = tuple[int, Callable[..., Any], tuple[Any, ...]]


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
        slot_id: user and group id of programs; None: the server's own. The server has given up its other groups.
        rules: the descriptor of the Landlock rules; None: without Landlock.
        seccomp_filter: None: without a filter.
        server: process id of the fork server, as its children see it.
    """

    slot_id: int | None
    rules: int | None
    seccomp_filter: Filter | None
    server: int

    def calls(self, limits: RunLimits) -> tuple[Step, ...]:
        """Steps 4 to 10, which are the same for all runs under the same limits."""
        ids, rules = self.slot_id, self.rules
        return (
            *(() if ids is None else ((4, os.setresgid, (ids, ids, ids)), (4, os.setresuid, (ids, ids, ids)))),
            *((5, *call) for call in syscalls.DROPPING_CAPABILITIES),
            (6, *syscalls.NO_NEW_PRIVILEGES),
            (7, *syscalls.DYING_WITH_PARENT),
            (7, *syscalls.UNDUMPABLE),
            (8, _end_without_parent, (self.server,)),
            *(() if rules is None else ((9, *landlock.restricting(rules)), (9, os.close, (rules,)))),
            *((10, resource.setrlimit, limit) for limit in _limits(limits)),
        )


@dataclass(frozen=True)
class Preparation:
    """What ``confine`` does for one process: the calls of steps 1 to 10, and where payload, report and filter are."""

    calls: tuple[Step, ...]
    payload: int
    report: int
    seccomp_filter: Filter | None


def prepare(
    places: Mapping[int, int],
    payload: int,
    report: int,
    confinement: Confinement,
    shared: tuple[Step, ...],
    also_kept: tuple[int, ...] = (),
) -> Preparation:
    """In the server: the calls of steps 1 to 10, in the order of the module's table.

    Args:
        places: which descriptor (value) the program finds where (key, below ``PLACES``).
        payload: descriptor of what to run.
        report: descriptor on which to report.
        shared: ``confinement.calls`` for the run's limits.
        also_kept: descriptors that stay open; their user closes them before the program runs.

    Raises:
        OSError: a source stands where a place is.
    """
    rules = [] if confinement.rules is None else [confinement.rules]
    if min(payload, report, *rules, *also_kept, *places.values()) < PLACES:
        raise OSError("a descriptor of a run stands in the place of another")
    calls: tuple[Step, ...] = (
        (1, os.setpgid, (0, 0)),
        *((2, os.dup2, (source, target)) for target, source in places.items()),
        *((3, *syscalls.closing(*gap)) for gap in _gaps([*places, payload, report, *rules, *also_kept])),
        *shared,
    )
    return Preparation(calls, payload, report, confinement.seccomp_filter)


def confine(prepared: Preparation) -> bytes:
    """In the child: take every step, or report the step that failed and end the process. Returns the payload."""
    step = 0
    try:
        for step, function, arguments in prepared.calls:  # noqa: B007 (``step`` is for the report)
            if function(*arguments) == -1:
                error = ctypes.get_errno()
                raise OSError(error, os.strerror(error))
        step = 11
        payload = prepared.payload
        content = os.pread(payload, os.lseek(payload, 0, os.SEEK_END), 0)
        os.close(payload)
        step = 12
        if prepared.seccomp_filter is not None:
            prepared.seccomp_filter.install(os.getpid())
        step = 13
        os.write(prepared.report, STARTED)
        return content
    except BaseException as error:  # On any error the program must not run; the report says which.
        os.write(prepared.report, SETUP_FAILED + f"step {step}: {error!r}"[:300].encode(errors="replace"))
        os._exit(1)


def _gaps(kept: Iterable[int]) -> Iterable[tuple[int, int]]:
    """First and last descriptor of each stretch without one that is kept."""
    for before, after in itertools.pairwise([-1, *sorted(kept), syscalls.LAST_DESCRIPTOR + 1]):
        if after - before > 1:
            yield before + 1, after - 1


def _end_without_parent(parent: int) -> None:
    if os.getppid() != parent:
        os._exit(1)


def _limits(limits: RunLimits) -> Iterable[tuple[int, tuple[int, int]]]:
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
    yield from ((each, (value, value)) for each, value in wanted.items())
    yield resource.RLIMIT_CPU, (cpu + 1, cpu + 2)
