"""Namespaces of a slot: its own users, mounts, network, processes, IPC and host name, and its root directory.

The new root is a small read-only tmpfs that holds nothing but the interpreter's library and system libraries
(read-only), four harmless devices, and a scratch folder, a tmpfs of limited size made again after every run that
used it. There is no /proc, so neither other processes nor the host's descriptors can be named.
"""

from __future__ import annotations

import errno
import os
import struct
from ctypes import create_string_buffer
from dataclasses import dataclass

from tracelift_ray.verification.sandbox.inside import syscalls

#: Programs start here, and /tmp leads here.
SCRATCH = "/box/work"
#: Landlock rules bind to the folder above the scratch mount: those on the mount itself would end with it.
SCRATCH_PARENT = "/box"
ALL = syscalls.NEW_USER | syscalls.NEW_NS | syscalls.NEW_NET | syscalls.NEW_IPC | syscalls.NEW_UTS | syscalls.NEW_PID

_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_DETACH = 2
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_DEVICES = ("null", "zero", "urandom", "random")
_SCRATCH_OPTIONS = "size={mib}m,nr_inodes=512,mode=777"


def map_own_ids(uid: int, gid: int) -> None:
    """In a new user namespace: this user is itself. An ordinary user may map no more than that. Raises OSError."""
    for name, content in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(content)


def build_root(stage: str, read_only: tuple[str, ...], hidden: tuple[str, ...]) -> None:
    """Make the new root on top of the folder ``stage`` and move into it; nothing of the old one can be reached after.

    Args:
        stage: an existing folder; what is mounted on it is seen in this namespace only.
        read_only: files and folders that appear at their own paths.
        hidden: folders below them that appear empty.

    Raises:
        OSError: a step was refused.
    """
    syscalls.mount(None, "/", None, _REC | _PRIVATE)
    syscalls.mount("sandbox", stage, "tmpfs", _NOSUID | _NODEV, "size=1m,nr_inodes=4096,mode=755")
    root = f"{stage}/root"
    os.mkdir(root, 0o755)
    syscalls.mount(root, root, None, _BIND)
    for path in read_only:
        _show(path, root)
    for path in hidden:
        if os.path.isdir(root + path):
            syscalls.mount("none", root + path, "tmpfs", _RDONLY | _NOSUID | _NODEV, "size=4k,nr_inodes=2")
    os.mkdir(f"{root}/dev", 0o755)
    for device in _DEVICES:
        _touch(f"{root}/dev/{device}")
        syscalls.mount(f"/dev/{device}", f"{root}/dev/{device}", None, _BIND)
    os.makedirs(root + SCRATCH, 0o755)
    os.symlink(SCRATCH[1:], f"{root}/tmp")
    os.chdir(root)
    syscalls.syscall(syscalls.PIVOT_ROOT, b".", b".")
    syscalls.unmount(".", _DETACH)
    syscalls.mount(None, "/", None, _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV)


@dataclass
class Scratch:
    """The scratch folder. ``refresh`` before each run: a run never sees what an earlier one left."""

    mib: int
    _fresh: tuple[int, ...] | None = None

    def refresh(self) -> None:
        """Make the folder again if a program changed anything in it, and change into it. Raises OSError."""
        if self._fresh is not None:
            if _state(SCRATCH) == self._fresh:
                return
            os.chdir("/")
            syscalls.unmount(SCRATCH, _DETACH)
        options = _SCRATCH_OPTIONS.format(mib=self.mib)
        syscalls.mount("scratch", SCRATCH, "tmpfs", _NOSUID | _NODEV | _NOEXEC, options)
        os.chdir(SCRATCH)
        self._fresh = _state(SCRATCH)


def _state(path: str) -> tuple[int, ...]:
    """What changes when something is made in an empty folder, or the folder itself is changed."""
    status = os.stat(path)
    return os.statvfs(path).f_ffree, status.st_mode, status.st_nlink, status.st_mtime_ns, status.st_ctime_ns


def _show(path: str, root: str) -> None:
    """Make ``path`` appear below ``root``, read-only; a symbolic link as one."""
    if not os.path.lexists(path) or os.path.lexists(root + path):
        return
    os.makedirs(os.path.dirname(root + path), 0o755, exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), root + path)
        return
    if os.path.isdir(path):
        os.mkdir(root + path, 0o755)
    else:
        _touch(root + path)
    syscalls.mount(path, root + path, None, _BIND | _REC)
    _make_read_only(root + path)


def _make_read_only(path: str) -> None:
    """Read-only with all mounts below; flags are only added, because those of the host's mounts are locked."""
    attributes = create_string_buffer(struct.pack("=QQQQ", _RDONLY | _NOSUID | _NODEV, 0, 0, 0), 32)
    try:
        syscalls.syscall(syscalls.MOUNT_SETATTR, _AT_FDCWD, path.encode(), _AT_RECURSIVE, attributes, 32)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        # Linux before 5.12: a remount replaces flags, so those that are there are kept.
        kept = os.statvfs(path).f_flag & _NOEXEC
        syscalls.mount(None, path, None, _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV | kept)


def _touch(path: str) -> None:
    with open(path, "w"):
        pass
