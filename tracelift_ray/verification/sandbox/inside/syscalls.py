"""System calls that Python has no function for, by number where the C library has none either.

Numbers differ between machines only for ``pivot_root``, ``seccomp`` and the like, which are used on x86-64 alone; the
others are the same on every machine, or go through the C library by name.
"""

from __future__ import annotations

import ctypes
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)
# Looked up here, once, and not in every child.
_syscall, _prctl_call, _capset = _libc.syscall, _libc.prctl, _libc.capset
_syscall.restype = ctypes.c_long
_prctl_call.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]

PIVOT_ROOT, SECCOMP = 155, 317
CLOSE_RANGE, MOUNT_SETATTR, LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 436, 442, 444, 445, 446

NEW_NS, NEW_UTS, NEW_IPC, NEW_USER, NEW_PID, NEW_NET = (
    0x00020000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 1, 4, 24, 38, 47
_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITY_HEADER = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
_NO_CAPABILITIES = ctypes.create_string_buffer(24)
_SIGKILL = 9


def syscall(number: int, *args: object) -> int:
    """A system call by number. Raises OSError."""
    values = [ctypes.c_long(each) if isinstance(each, int) else each for each in args]
    return _checked(_syscall(ctypes.c_long(number), *values), f"system call {number}")


def unshare(flags: int) -> None:
    """Leave the namespaces that ``flags`` names for new ones. Raises OSError."""
    _checked(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """Mount, bind or remount. Raises OSError."""
    words = [None if word is None else word.encode() for word in (source, target, kind, options)]
    result = _libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3])
    _checked(result, f"mount {source} on {target}")


def unmount(target: str, flags: int = 0) -> None:
    """Unmount ``target``. Raises OSError."""
    _checked(_libc.umount2(target.encode(), ctypes.c_int(flags)), f"unmount {target}")


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that created it ends. A change of user ids undoes it."""
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL)


def set_undumpable() -> None:
    """No other process of this user may trace this one or read its memory. A change of user ids undoes it."""
    _prctl(_PR_SET_DUMPABLE, 0)


def set_no_new_privileges() -> None:
    """No program that this process executes gains rights; without it neither seccomp nor Landlock can be set."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_bounding_capabilities() -> None:
    """Empty the bounding set, so that no later step can bring a capability back. Needs CAP_SETPCAP, else no effect."""
    for capability in range(64):
        try:
            _prctl(_PR_CAPBSET_DROP, capability)
        except OSError:
            return  # past the last one that this kernel knows, or not ours to drop


def drop_capabilities() -> None:
    """Give up every capability: ambient, effective, permitted, inheritable. Raises OSError."""
    _prctl(_PR_CAP_AMBIENT, _CAP_AMBIENT_CLEAR_ALL)
    _checked(_capset(_CAPABILITY_HEADER, _NO_CAPABILITIES), "capset")


def close_range(first: int, last: int) -> None:
    """Close every descriptor from ``first`` to ``last``."""
    try:
        syscall(CLOSE_RANGE, first, last, 0)
    except OSError:  # Linux before 5.9
        os.closerange(first, min(last, 4096) + 1)


def _prctl(option: int, *args: int) -> int:
    return _checked(_prctl_call(option, *[*args, 0, 0, 0, 0][:4]), f"prctl {option}")


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
