import resource
import struct

before = {which: resource.getrlimit(which) for which in range(16)}
for which in before:
    for value in (2**62, -1):
        try:
            resource.setrlimit(which, (value, value))
        except (ValueError, OSError):
            pass
        room = ctypes.create_string_buffer(struct.pack("=QQ", value & (2**64 - 1), value & (2**64 - 1)))
        for process in (0, os.getpid()):
            _libc.syscall(ctypes.c_long(302), ctypes.c_long(process), ctypes.c_long(which), room, None)
        _libc.syscall(ctypes.c_long(160), ctypes.c_long(which), room)
for which, limits in before.items():
    attempt(f"limit {which} raised", lambda: resource.getrlimit(which) if resource.getrlimit(which) != limits else None)
for process in (1, os.getppid()):
    room = ctypes.create_string_buffer(16)
    attempt(f"limits of {process} read", lambda: call(302, process, 7, None, room))
    attempt(f"limits of {process} set", lambda: call(302, process, 7, ctypes.create_string_buffer(struct.pack("=QQ", 3, 3)), room) and room.raw.strip(b"\0"))
attempt("4 GiB", lambda: len(bytearray(4 << 30)))
report()
