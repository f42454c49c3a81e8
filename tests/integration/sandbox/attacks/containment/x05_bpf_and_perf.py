import struct

attributes = ctypes.create_string_buffer(struct.pack("=IIII", 2, 4, 8, 1), 128)
attempt("bpf map", lambda: call(321, 0, attributes, 128))
attempt("bpf program", lambda: call(321, 5, attributes, 128))
for kind, config in ((1, 0), (1, 1), (0, 0), (2, 0)):
    event = ctypes.create_string_buffer(struct.pack("=IIQ", kind, 112, config), 112)
    for process in (0, -1, os.getppid()):
        attempt(f"perf_event_open {kind} of {process}", lambda: call(298, event, process, -1, -1, 0))
attempt("lookup_dcookie", lambda: call(212, 0, 0, ctypes.create_string_buffer(64), 64))
attempt("syslog", lambda: call(103, 10, 0, 0))
report()
