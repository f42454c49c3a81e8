import glob
import os


def readable(path):
    def read():
        with open(path, "rb") as stream:
            stream.seek(0)
            return stream.read(16)

    return read


for process in ("1", "2", str(os.getppid()), str(os.getppid() - 1)):
    for name in ("mem", "maps", "environ", "cmdline", "status", "auxv", "stack", "io"):
        if process not in ("0", str(os.getpid())):
            attempt(f"/proc/{process}/{name}", readable(f"/proc/{process}/{name}"))
own = {"self", "thread-self", str(os.getpid())}
for path in glob.glob("/proc/*/environ"):
    if path.split("/")[2] not in own:
        attempt(path, readable(path))
attempt("kcore", readable("/proc/kcore"))
attempt("/dev/mem", readable("/dev/mem"))
attempt("process_vm_readv", lambda: call(310, os.getppid(), ctypes.create_string_buffer(64), 1, ctypes.create_string_buffer(64), 1, 0))
attempt("process_vm_writev", lambda: call(311, os.getppid(), ctypes.create_string_buffer(64), 1, ctypes.create_string_buffer(64), 1, 0))
attempt("process_madvise", lambda: call(440, 0, ctypes.create_string_buffer(64), 1, 4, 0))
report()
