for entries in (1, 8, 4096):
    attempt("io_uring_setup", lambda: call(425, entries, ctypes.create_string_buffer(120)))
for number in (426, 427):
    for descriptor in range(64):
        attempt(f"io_uring {number} on {descriptor}", lambda: call(number, descriptor, 0, 0, 0, 0, 0))
attempt("io_setup", lambda: call(206, 8, ctypes.byref(ctypes.c_ulong(0))))
report()
