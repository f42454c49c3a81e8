"""Landlock: which files a process may read, list or change, on top of its user's rights.

Rules bind to the file that a path names when the rule is made: what is mounted on it later is another file.
Landlock does not govern changes of mode, owner, times or extended attributes, nor looking at them; the seccomp filter
refuses the former. Network and signals are governed by newer kernels and are closed here where that is so, beside the
seccomp filter that closes them everywhere.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

from tracelift_ray.verification.sandbox.inside.syscalls import (
    LANDLOCK_ADD,
    LANDLOCK_CREATE,
    LANDLOCK_RESTRICT,
    Call,
    numbered,
    syscall,
)

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK = 1 << 6, 1 << 9, 1 << 10, 1 << 11
_FIRST_VERSION = (1 << 13) - 1
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_ALL_TCP, _ALL_SCOPES = 3, 3
_GET_VERSION, _PATH_BENEATH = 1, 1


def version() -> int:
    """The Landlock version of this kernel, 0 where it has none or hides it."""
    try:
        return syscall(LANDLOCK_CREATE, 0, 0, _GET_VERSION)
    except OSError:
        return 0


def make_ruleset(read: Iterable[str], listed: Iterable[str], changed: Iterable[str]) -> int:
    """A descriptor of rules for ``restrict``. Paths that do not exist are left out.

    Args:
        read: files, or folders with all below, that may be read.
        listed: folders that may be listed, with those below.
        changed: folders in which ordinary files and folders may be made, changed and removed.

    Raises:
        OSError: the kernel has no Landlock.
    """
    known = version()
    handled = _FIRST_VERSION
    for since, right in ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL_DEV)):
        handled |= right if known >= since else 0
    attributes = struct.pack("=QQQ", handled, _ALL_TCP if known >= 4 else 0, _ALL_SCOPES if known >= 6 else 0)
    size = 24 if known >= 6 else 16 if known >= 4 else 8
    rules = syscall(LANDLOCK_CREATE, ctypes.create_string_buffer(attributes, 24), size, 0)
    in_scratch = handled & ~(_EXECUTE | _MAKE_CHAR | _MAKE_SOCK | _MAKE_FIFO | _MAKE_BLOCK | _IOCTL_DEV)
    for paths, rights in ((read, _READ_FILE | _READ_DIR), (listed, _READ_DIR), (changed, in_scratch)):
        for path in paths:
            _allow(rules, path, rights)
    for device, rights in (("null", _READ_FILE | _WRITE_FILE), ("zero", _READ_FILE), ("urandom", _READ_FILE)):
        _allow(rules, f"/dev/{device}", rights)
    return rules


def restricting(rules: int) -> Call:
    """The call that puts a process under the rules, for good. Needs no_new_privs."""
    return numbered(LANDLOCK_RESTRICT, rules, 0)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        allowed = rights if os.path.isdir(path) else rights & _ON_FILES
        rule = ctypes.create_string_buffer(struct.pack("=Qi", allowed, descriptor), 12)
        syscall(LANDLOCK_ADD, rules, _PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)
