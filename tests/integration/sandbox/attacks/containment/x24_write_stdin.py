import fcntl
import mmap

content = os.pread(0, 100, 0)
for flags in (os.O_RDWR, os.O_WRONLY, os.O_WRONLY | os.O_TRUNC):
    attempt("reopened for writing", lambda: os.write(os.open("/proc/self/fd/0", flags), b"x"))
    attempt("reopened through /dev", lambda: os.write(os.open("/dev/stdin", flags), b"x"))
attempt("written", lambda: os.pwrite(0, b"x", 0))
attempt("cut", lambda: os.ftruncate(0, 0) or "cut")
attempt("owner changed", lambda: os.fchown(0, -1, -1) or "changed")
attempt("mapped for writing", lambda: mmap.mmap(0, 4096, mmap.MAP_SHARED, mmap.PROT_WRITE | mmap.PROT_READ))
attempt("seals", lambda: fcntl.fcntl(0, 1033, 0) or None)
attempt("xattr", lambda: os.setxattr(0, "user.planted", b"x") or "set")
attempt("content", lambda: os.pread(0, 100, 0) != content)
report()
