SHELL = b"#!/bin/sh\necho passed\n"
attempt("memfd_create", lambda: call(319, b"m", 0))
attempt("memfd_secret", lambda: call(447, 0))
for descriptor in (0, 1, 2):
    attempt(f"execveat {descriptor}", lambda: call(322, descriptor, b"", None, None, 0x1000))
for directory in (".", "/tmp", "/dev/shm", "/var/tmp"):

    def planted():
        path = f"{directory}/planted_program"
        with open(path, "wb") as stream:
            stream.write(SHELL)
        os.chmod(path, 0o755)
        os.execv(path, [path])

    attempt(f"exec in {directory}", planted)
for path in ("/bin/sh", "/usr/bin/env", "/usr/bin/python3", "/lib64/ld-linux-x86-64.so.2"):
    attempt(f"exec {path}", lambda: os.execv(path, [path]))
report()
