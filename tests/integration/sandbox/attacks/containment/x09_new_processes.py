import struct

NAMESPACES = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x80)


def forked(number, *arguments):
    def run():
        child = _libc.syscall(ctypes.c_long(number), *[ctypes.c_long(each) if isinstance(each, int) else each for each in arguments])
        if child == 0:
            os._exit(0)
        return child if child > 0 else None

    return run


attempt("fork", forked(57))
attempt("clone SIGCHLD", forked(56, 17, 0, 0, 0, 0))
attempt("clone CLONE_PARENT", forked(56, 0x8000 | 17, 0, 0, 0, 0))
attempt("clone CLONE_UNTRACED", forked(56, 0x800000 | 17, 0, 0, 0, 0))
for flag in NAMESPACES:
    attempt(f"unshare {flag:#x}", lambda: call(272, flag))
    attempt(f"clone {flag:#x}", forked(56, flag | 17, 0, 0, 0, 0))
    arguments = ctypes.create_string_buffer(struct.pack("=11Q", flag, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0))
    attempt(f"clone3 {flag:#x}", forked(435, arguments, 88))
attempt("clone3", forked(435, ctypes.create_string_buffer(struct.pack("=11Q", 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0)), 88))
for name in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup"):
    attempt(f"setns {name}", lambda: call(308, os.open(f"/proc/1/ns/{name}", os.O_RDONLY), 0))
for descriptor in range(64):
    attempt(f"setns {descriptor}", lambda: call(308, descriptor, 0))
attempt("posix_spawn", lambda: os.posix_spawn("/bin/true", ["true"], {}))
attempt("execve", lambda: call(59, b"/nonexistent", None, None))
report()
