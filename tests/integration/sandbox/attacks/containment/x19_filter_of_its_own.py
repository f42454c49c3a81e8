import struct

ALLOW_ALL = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000))


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


program = Program(1, ctypes.cast(ALLOW_ALL, ctypes.c_void_p))
for flags in (0, 1, 4, 8, 16, 32):
    attempt(f"seccomp filter {flags}", lambda: call(317, 1, flags, ctypes.byref(program)))
attempt("seccomp strict", lambda: call(317, 0, 0, None))
attempt("prctl filter", lambda: call(157, 22, 2, ctypes.byref(program), 0, 0))
attempt("seccomp sizes", lambda: call(317, 3, 0, ctypes.create_string_buffer(16)))
report()
