"""The seccomp filter of a program: which system calls it may make, and with which arguments.

An allow-list for x86-64, assembled here into the kernel's BPF. What is not on it is refused with EPERM, and what is
newer than the list with ENOSYS, so that libraries fall back. Threads may be made; processes, sockets, other programs
and other namespaces may not. A program may signal itself, but never with SIGKILL: where a process died of SIGKILL and
we did not send it, something else than the program did (``verdicts.py`` rests on that).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import platform
import struct
from collections.abc import Iterable

from tracelift_ray.verification.sandbox.inside.syscalls import SECCOMP, checked, numbered

#: The machine that the numbers below belong to.
MACHINE = "x86_64"

#: Allowed with any arguments.
ALLOWED = {
    "read": 0, "write": 1, "futex": 202, "mmap": 9, "munmap": 11, "brk": 12, "lseek": 8, "newfstatat": 262, "fstat": 5,
    "openat": 257, "close": 3, "clock_gettime": 228, "rt_sigprocmask": 14, "rt_sigaction": 13, "mprotect": 10,
    "open": 2, "stat": 4, "lstat": 6, "poll": 7, "rt_sigreturn": 15, "pread64": 17, "pwrite64": 18, "readv": 19,
    "writev": 20, "access": 21, "pipe": 22, "select": 23, "mremap": 25, "msync": 26, "madvise": 28,
    "dup": 32, "dup2": 33, "pause": 34, "nanosleep": 35, "getitimer": 36, "alarm": 37, "setitimer": 38, "getpid": 39,
    "sendfile": 40, "recvfrom": 45, "shutdown": 48, "getsockname": 51, "getsockopt": 55, "exit": 60, "uname": 63,
    "flock": 73, "fsync": 74, "fdatasync": 75, "ftruncate": 77, "getdents": 78, "getcwd": 79, "chdir": 80,
    "fchdir": 81, "rename": 82, "mkdir": 83, "rmdir": 84, "creat": 85, "link": 86, "unlink": 87, "symlink": 88,
    "readlink": 89, "umask": 95, "gettimeofday": 96, "getrlimit": 97, "getrusage": 98, "sysinfo": 99, "times": 100,
    "getuid": 102, "getgid": 104, "geteuid": 107, "getegid": 108, "getppid": 110, "getpgrp": 111, "getgroups": 115,
    "getresuid": 118, "getresgid": 120, "getpgid": 121, "getsid": 124, "rt_sigpending": 127, "rt_sigtimedwait": 128,
    "rt_sigsuspend": 130, "sigaltstack": 131, "statfs": 137, "fstatfs": 138, "sched_getparam": 143,
    "sched_getscheduler": 145, "sched_get_priority_max": 146, "sched_get_priority_min": 147, "arch_prctl": 158,
    "gettid": 186, "time": 201, "sched_getaffinity": 204, "epoll_create": 213, "getdents64": 217,
    "set_tid_address": 218, "restart_syscall": 219, "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231,
    "epoll_wait": 232, "epoll_ctl": 233, "mkdirat": 258, "unlinkat": 263, "renameat": 264, "linkat": 265,
    "symlinkat": 266, "readlinkat": 267, "faccessat": 269, "pselect6": 270, "ppoll": 271, "set_robust_list": 273,
    "epoll_pwait": 281, "eventfd": 284, "eventfd2": 290, "epoll_create1": 291, "dup3": 292, "pipe2": 293,
    "preadv": 295, "pwritev": 296, "getcpu": 309, "sched_getattr": 315, "renameat2": 316, "getrandom": 318,
    "membarrier": 324, "copy_file_range": 326, "preadv2": 327, "pwritev2": 328, "statx": 332, "rseq": 334,
    "close_range": 436, "faccessat2": 439,
}  # fmt: skip

#: Calls that change a file's metadata or length by its path. Landlock governs none of them on every kernel, so they are
#: allowed only where a private mount namespace holds no file but the program's own.
METADATA = {"truncate": 76, "chmod": 90, "fchmod": 91, "utime": 132, "utimes": 235, "futimesat": 261, "fchmodat": 268,
            "utimensat": 280}  # fmt: skip

_CLONE, _CLONE3, _KILL, _TGKILL, _FCNTL, _IOCTL, _PRCTL, _PRLIMIT, _SETRLIMIT = 56, 435, 62, 234, 72, 16, 157, 302, 160
_WAIT4, _WAITID, _SOCKET, _SOCKETPAIR, _SENDTO, _SCHED_YIELD = 61, 247, 41, 53, 44, 24
_FIRST_UNKNOWN = 450

_CLONE_THREAD = 0x10000
_CLONE_NAMESPACES = 0x7E020000 | 0x80
_SIGKILL = 9
_O_ASYNC = 0x2000
_F_DUPFD_CLOEXEC, _F_GETPIPE_SZ = 1030, 1032
_IOCTLS = (0x5401, 0x541B, 0x5451, 0x5450, 0x5421, 0x5413)  # TCGETS, FIONREAD, FIOCLEX, FIONCLEX, FIONBIO, TIOCGWINSZ
_PRCTLS = (15, 16, 0x53564D41)  # PR_SET_NAME, PR_GET_NAME, PR_SET_VMA
_AF_UNIX = 1

_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _JUMP, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x05, 0x15, 0x35, 0x45, 0x06
_LONGEST_SKIP = 255
_AUDIT_ARCH_X86_64, _X32_BIT = 0xC000003E, 0x40000000
_NUMBER_AT, _ARCH_AT, _ARGS_AT = 0, 4, 16
#: Stands for the process id, which is known only in the process that installs the filter.
_PID = 0xDEADBEE0

#: One BPF instruction: operation, instructions to skip where it holds and where it does not, operand.
Instruction = tuple[int, int, int, int]


def supported() -> bool:
    """Whether the table belongs to this machine."""
    return platform.machine() == MACHINE and struct.calcsize("P") == 8


def assemble(*, metadata: bool) -> bytes:
    """The filter, with a mark where the process id belongs; ``Filter.install`` puts it in.

    The call's number is found by halving, because the kernel goes through the filter for every number that there is
    when it is installed, which happens for each program.

    Args:
        metadata: also allow ``METADATA``.
    """
    bodies: dict[int, list[Instruction]] = dict(_conditional())
    bodies |= {number: [_result(0)] for number in (*ALLOWED.values(), *(METADATA.values() if metadata else ()))}
    code = [
        (_LOAD, 0, 0, _ARCH_AT), (_EQUAL, 1, 0, _AUDIT_ARCH_X86_64), (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER_AT), (_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, _KILL_PROCESS),
        *_halve(_intervals(bodies)),
    ]  # fmt: skip
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


class Filter:
    """A filter that is ready to be put in: prepared once, in the server, and not in every process.

    Args:
        code: from ``assemble``.
    """

    def __init__(self, code: bytes) -> None:
        self._code = ctypes.create_string_buffer(code, len(code))
        self._program = ctypes.create_string_buffer(
            struct.pack("=HxxxxxxQ", len(code) // 8, ctypes.addressof(self._code))
        )
        mark = struct.pack("=I", _PID)
        self._marks = tuple(at + 4 for at in range(0, len(code), 8) if code[at + 4 : at + 8] == mark)
        self._function, self._arguments = numbered(SECCOMP, 1, 0, ctypes.addressof(self._program))

    def install(self, pid: int) -> None:
        """Put this process, which is ``pid``, under the filter, for good. Raises OSError."""
        for mark in self._marks:
            struct.pack_into("=I", self._code, mark, pid)
        checked(self._function(*self._arguments), "seccomp")


def _conditional() -> Iterable[tuple[int, list[Instruction]]]:
    """Calls whose arguments decide. Every body ends in a verdict on each of its paths."""
    yield _CLONE, [_low(0), (_ANY_BIT, 0, 1, _CLONE_NAMESPACES), _result(errno.EPERM),
                   (_ANY_BIT, 0, 1, _CLONE_THREAD), _result(0), _result(errno.EPERM)]  # fmt: skip
    yield _CLONE3, [_result(errno.ENOSYS)]  # Its flags are in memory, where no filter sees them; glibc then uses clone.
    for number, signal_at in ((_KILL, 1), (_TGKILL, 2)):
        yield number, [_low(0), (_EQUAL, 1, 0, _PID), _result(errno.EPERM),
                       _low(signal_at), (_EQUAL, 0, 1, _SIGKILL), _result(errno.EPERM), _result(0)]  # fmt: skip
    yield _FCNTL, _fcntl()
    yield _IOCTL, _one_of(1, _IOCTLS, errno.ENOTTY)
    yield _PRCTL, _one_of(0, _PRCTLS, errno.EPERM)
    # Programs raise their own limits by habit: the call reports success. Limits may be read.
    yield _PRLIMIT, [_low(0), (_EQUAL, 1, 0, 0), _result(errno.EPERM), *_if_null(2, _result(0), _pretend())]
    yield _SETRLIMIT, [_pretend()]
    # Giving the core away all the time would look like being kept from it; see ``starvation.py``.
    yield _SCHED_YIELD, [_pretend()]
    for number in (_WAIT4, _WAITID):
        yield number, [_result(errno.ECHILD)]
    yield _SOCKETPAIR, _one_of(0, (_AF_UNIX,), errno.EPERM)  # asyncio wakes itself through one
    yield _SENDTO, _if_null(4, _result(0), _result(errno.EPERM))
    yield _SOCKET, [_result(errno.EACCES)]


def _intervals(bodies: dict[int, list[Instruction]]) -> list[tuple[int, list[Instruction]]]:
    """Where, among all numbers in order, what is done changes: the first number of each stretch, and its body."""
    found: list[tuple[int, list[Instruction]]] = []
    for number in range(_FIRST_UNKNOWN + 1):
        body = bodies.get(number, [_result(errno.EPERM)]) if number < _FIRST_UNKNOWN else [_result(errno.ENOSYS)]
        if not found or found[-1][1] != body:
            found.append((number, body))
    return found


def _halve(intervals: list[tuple[int, list[Instruction]]]) -> list[Instruction]:
    """Code that goes to the body of the stretch that the number is in."""
    if len(intervals) == 1:
        return intervals[0][1]
    middle = len(intervals) // 2
    lower, upper = _halve(intervals[:middle]), _halve(intervals[middle:])
    pivot = intervals[middle][0]
    if len(lower) > _LONGEST_SKIP:  # Conditional jumps skip at most so many instructions, others any number.
        return [(_AT_LEAST, 0, 1, pivot), (_JUMP, 0, 0, len(lower)), *lower, *upper]
    return [(_AT_LEAST, len(lower), 0, pivot), *lower, *upper]


def _fcntl() -> list[Instruction]:
    """Duplicates, flags and the size of a pipe; neither owners and signals of input and output, nor locks."""
    plain = (fcntl.F_GETFL, fcntl.F_SETFD, fcntl.F_GETFD, fcntl.F_DUPFD, _F_DUPFD_CLOEXEC, _F_GETPIPE_SZ)
    set_flags = [(_EQUAL, 1, 0, fcntl.F_SETFL), _result(errno.EPERM),
                 _low(2), (_ANY_BIT, 0, 1, _O_ASYNC), _result(errno.EPERM), _result(0)]  # fmt: skip
    tests = [(_EQUAL, 0, 1, command) for command in plain]
    return [_low(1), *(step for test in tests for step in (test, _result(0))), *set_flags]


def _one_of(argument: int, values: tuple[int, ...], otherwise: int) -> list[Instruction]:
    """Allow where an argument is one of ``values``, else refuse with the error ``otherwise``."""
    tests = [step for value in values for step in ((_EQUAL, 0, 1, value), _result(0))]
    return [_low(argument), *tests, _result(otherwise)]


def _if_null(argument: int, null: Instruction, other: Instruction) -> list[Instruction]:
    """``null`` where all 64 bits of a pointer are 0, else ``other``."""
    return [_low(argument), (_EQUAL, 0, 3, 0), _high(argument), (_EQUAL, 0, 1, 0), null, other]


def _low(argument: int) -> Instruction:
    return _LOAD, 0, 0, _ARGS_AT + 8 * argument


def _high(argument: int) -> Instruction:
    return _LOAD, 0, 0, _ARGS_AT + 8 * argument + 4


def _result(error: int) -> Instruction:
    """Allow (0), or refuse with an error number."""
    return _RETURN, 0, 0, _ERRNO | error if error else _ALLOW


def _pretend() -> Instruction:
    """Do nothing, and return 0."""
    return _RETURN, 0, 0, _ERRNO
