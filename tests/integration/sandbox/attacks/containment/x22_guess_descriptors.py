import fcntl
import stat

for descriptor in range(3, 4096):
    try:
        status = os.fstat(descriptor)
    except OSError:
        continue
    attempt(f"descriptor {descriptor} is open ({stat.filemode(status.st_mode)})", lambda: True)
for descriptor in (0, 1, 2):
    attempt(f"owner of {descriptor}", lambda: fcntl.fcntl(descriptor, fcntl.F_GETOWN))
    attempt(f"name of {descriptor}", lambda: os.readlink(f"/proc/self/fd/{descriptor}") if "memfd" not in os.readlink(f"/proc/self/fd/{descriptor}") else None)
report()
