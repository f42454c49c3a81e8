for path in ("../" * 40 + "tmp/sandbox_canary/secret.txt", "/proc/self/cwd/../tmp/sandbox_canary/secret.txt", "/proc/self/root/tmp/sandbox_canary/secret.txt", "/proc/1/root/tmp/sandbox_canary/secret.txt", "/dev/fd/0/../../tmp/sandbox_canary/secret.txt"):
    attempt(path, lambda: open(path).read())
for descriptor in range(0, 256):
    attempt(f"openat {descriptor}", lambda: os.open("tmp/sandbox_canary/secret.txt", os.O_RDONLY, dir_fd=descriptor))
    attempt(f"fchdir {descriptor}", lambda: os.fchdir(descriptor) or "moved")
for name in ("link", "hard"):
    attempt(f"symlink {name}", lambda: os.symlink("/tmp/sandbox_canary/secret.txt", name) or open(name).read())
    attempt(f"hardlink {name}", lambda: os.link("/tmp/sandbox_canary/secret.txt", f"{name}2") or open(f"{name}2").read())
attempt("openat2", lambda: call(437, -100, b"/tmp/sandbox_canary/secret.txt", ctypes.create_string_buffer(24), 24))
attempt("unlink", lambda: os.unlink("/tmp/sandbox_canary/deleteme.txt") or "gone")
attempt("rename", lambda: os.rename("/tmp/sandbox_canary/deleteme.txt", "/tmp/sandbox_canary/planted") or "moved")
attempt("chmod", lambda: os.chmod("/tmp/sandbox_canary/secret.txt", 0o777) or "changed")
attempt("fchmodat2", lambda: call(452, -100, b"/tmp/sandbox_canary/secret.txt", 0o777, 0))
attempt("utime", lambda: os.utime("/tmp/sandbox_canary/secret.txt", (1, 1)) or "changed")
attempt("truncate", lambda: os.truncate("/tmp/sandbox_canary/secret.txt", 0) or "cut")
attempt("setxattrat", lambda: call(463, -100, b"/tmp/sandbox_canary/secret.txt", 0, b"user.planted", ctypes.create_string_buffer(16), 16))
attempt("mknod", lambda: os.mknod("planted_device", 0o20666, os.makedev(1, 3)) or "made")
attempt("mkfifo", lambda: os.mkfifo("/tmp/sandbox_canary/planted_fifo") or "made")
report()
