"""System calls that Python has no function for, by number where the C library has none either.

Numbers differ between machines only for ``pivot_root``, ``seccomp`` and the like, which are used on x86-64 alone; the
others are the same on every machine, or go through the C library by name.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
# Looked up here, once, and not in every child.
_syscall, _numbered, _prctl_call, _capset = _libc["syscall"], _libc["syscall"], _libc.prctl, _libc.capset
_syscall.restype = _numbered.restype = ctypes.c_long
_numbered.argtypes = [ctypes.c_long] * 4
_prctl_call.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]

PIVOT_ROOT, SECCOMP = 155, 317
CLOSE_RANGE, MOUNT_SETATTR, LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 436, 442, 444, 445, 446

NEW_NS, NEW_UTS, NEW_IPC = 0x00020000, 0x04000000, 0x08000000
NEW_USER, NEW_PID, NEW_NET = 0x10000000, 0x20000000, 0x40000000

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 1, 4, 24, 38, 47
_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITY_HEADER = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
_NO_CAPABILITIES = ctypes.create_string_buffer(24)
_SIGKILL = 9
LAST_DESCRIPTOR = 2**32 - 1

#: A call that is made later, in a child: a function that returns -1 or raises where it fails, and its arguments.
Call = tuple[Callable[..., Any], tuple[Any, ...]]


def _prctl_later(option: int, *args: int) -> Call:
    return _prctl_call, (option, *[*args, 0, 0, 0, 0][:4])


#: The kernel kills the process when the thread that created it ends. A change of user ids undoes it.
DYING_WITH_PARENT = _prctl_later(_PR_SET_PDEATHSIG, _SIGKILL)
#: No other process of this user may trace it or read its memory. A change of user ids undoes it.
UNDUMPABLE = _prctl_later(_PR_SET_DUMPABLE, 0)
#: No program that it executes gains rights; without it neither seccomp nor Landlock can be set.
NO_NEW_PRIVILEGES = _prctl_later(_PR_SET_NO_NEW_PRIVS, 1)
#: It gives up every capability: ambient, effective, permitted, inheritable.
DROPPING_CAPABILITIES: tuple[Call, ...] = (
    _prctl_later(_PR_CAP_AMBIENT, _CAP_AMBIENT_CLEAR_ALL),
    (_capset, (_CAPABILITY_HEADER, _NO_CAPABILITIES)),
)


def syscall(number: int, *args: object) -> int:
    """A system call by number. Raises OSError."""
    values = [ctypes.c_long(each) if isinstance(each, int) else each for each in args]
    return checked(_syscall(ctypes.c_long(number), *values), f"system call {number}")


def unshare(flags: int) -> None:
    """Leave the namespaces that ``flags`` names for new ones. Raises OSError."""
    checked(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """Mount, bind or remount. Raises OSError."""
    texts = [None if text is None else text.encode() for text in (source, target, kind, options)]
    result = _libc.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3])
    checked(result, f"mount {source} on {target}")


def unmount(target: str, flags: int = 0) -> None:
    """Unmount ``target``. Raises OSError."""
    checked(_libc.umount2(target.encode(), ctypes.c_int(flags)), f"unmount {target}")


def perform(*calls: Call) -> None:
    """Make calls at once. Raises OSError."""
    for function, arguments in calls:
        checked(function(*arguments), f"{function.__name__}{arguments}")


def numbered(number: int, *args: int) -> Call:
    """A system call by number, with at most three arguments."""
    return _numbered, (number, *[*args, 0, 0, 0][:3])


def closing(first: int, last: int) -> Call:
    """The call that closes every descriptor from ``first`` to ``last``."""
    if _HAS_CLOSE_RANGE:
        return numbered(CLOSE_RANGE, first, last, 0)
    return os.closerange, (first, min(last, _MOST_DESCRIPTORS) + 1)


def drop_bounding_capabilities() -> None:
    """Empty the bounding set, so that no later step can bring a capability back. Needs CAP_SETPCAP, else no effect."""
    for capability in range(64):
        try:
            perform(_prctl_later(_PR_CAPBSET_DROP, capability))
        except OSError:
            return  # past the last one that this kernel knows, or not ours to drop


def checked(result: int, what: str) -> int:
    """What a call returned. Raises OSError where that says that it failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


#: Linux before 5.9 has no such call; there, descriptors up to a number that no process of ours reaches are closed.
_HAS_CLOSE_RANGE = _numbered(CLOSE_RANGE, LAST_DESCRIPTOR, LAST_DESCRIPTOR, 0) == 0
_MOST_DESCRIPTORS = 4096
