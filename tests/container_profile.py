"""Executes a command as a container runtime would with its default settings, as far as that concerns a sandbox.

``python -m tests.container_profile [--user ID] COMMAND …``: the capabilities that Docker leaves to root by default
(none for another user), and a seccomp filter that refuses what Docker's default profile refuses without CAP_SYS_ADMIN:
new namespaces, mounts, and the calls that the kernel's attack surface is mostly made of.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import struct
import sys
import tempfile
from pathlib import Path

from tracelift_ray.verification.sandbox.inside import syscalls
from tracelift_ray.verification.sandbox.inside.seccomp import Filter

#: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, MKNOD,
#: AUDIT_WRITE, SETFCAP.
CAPABILITIES = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31)
#: unshare, setns, mount, umount2, pivot_root, open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr,
#: keyctl, add_key, request_key, ptrace, process_vm_readv, process_vm_writev, bpf, perf_event_open, userfaultfd,
#: io_uring_setup, io_uring_enter, io_uring_register, swapon, swapoff, reboot, open_by_handle_at, name_to_handle_at,
#: kcmp, quotactl.
REFUSED = (272, 308, 165, 166, 155, 428, 429, 430, 431, 432, 433, 442, 250, 248, 249, 101, 310, 311, 321, 298, 323,
           425, 426, 427, 167, 168, 169, 304, 303, 312, 179)  # fmt: skip
_LANDLOCK = (444, 445, 446)
_CLONE, _CLONE3, _NEW_NAMESPACES = 56, 435, 0x7E020000
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_REC, _PRIVATE, _BIND, _DETACH = 16384, 1 << 18, 4096, 2
_PR_CAPBSET_DROP, _CAPABILITY_VERSION_3 = 24, 0x20080522


def profile(landlock: bool) -> bytes:
    """The filter. ``landlock``: whether the runtime lets Landlock through, as newer ones do."""
    refuse = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    code = [(_LOAD, 0, 0, 0)]
    for number in () if landlock else _LANDLOCK:
        code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    for number in REFUSED:
        code += [(_EQUAL, 0, 1, number), refuse]
    code += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    code += [(_EQUAL, 0, 3, _CLONE), (_LOAD, 0, 0, 16), (_ANY_BIT, 0, 1, _NEW_NAMESPACES), refuse]
    return b"".join(struct.pack("=HBBI", *each) for each in [*code, (_RETURN, 0, 0, _ALLOW)])


def keep_default_capabilities() -> None:
    """Root as a container has it. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in set(range(41)) - set(CAPABILITIES):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    kept = sum(1 << capability for capability in CAPABILITIES)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    data = struct.pack("=IIIIII", kept, kept, 0, 0, 0, 0)
    if libc.capset(ctypes.create_string_buffer(header), ctypes.create_string_buffer(data)) < 0:
        raise OSError(ctypes.get_errno(), "capset")


def open_home(executable: str) -> None:
    """Where only root may enter the home folder that Python is in, give this process another view, in which all may.

    The folder is covered, in a mount namespace of this process's own, by one that holds nothing else.
    """
    home = Path("/", *Path(executable).parts[1:2])
    if home.stat().st_mode & 0o001:
        return
    inner = home / Path(executable).relative_to(home).parts[0]
    with tempfile.TemporaryDirectory() as aside:
        syscalls.unshare(syscalls.NEW_NS)
        syscalls.mount(None, "/", None, _REC | _PRIVATE)
        syscalls.mount(str(inner), aside, None, _BIND | _REC)
        syscalls.mount("home", str(home), "tmpfs", 0, "mode=755,size=1m")
        inner.mkdir()
        syscalls.mount(aside, str(inner), None, _BIND | _REC)
        syscalls.unmount(aside, _DETACH)


def main() -> None:
    """Take the profile on and execute the command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--user", type=int)
    parser.add_argument("--no-profile", action="store_true", help="only change the user")
    parser.add_argument("--no-landlock", action="store_true", help="as runtimes that do not know it")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if options.user is not None:
        open_home(os.path.realpath(sys.executable))
        os.setgroups([])
        os.setresgid(options.user, options.user, options.user)
        os.setresuid(options.user, options.user, options.user)
        if not options.no_profile:
            syscalls.perform(*syscalls.DROPPING_CAPABILITIES)
    elif not options.no_profile:
        keep_default_capabilities()
    if not options.no_profile:
        syscalls.perform(syscalls.NO_NEW_PRIVILEGES)
        Filter(profile(not options.no_landlock)).install(os.getpid())
    os.execvp(options.command[0], options.command)


if __name__ == "__main__":
    main()
