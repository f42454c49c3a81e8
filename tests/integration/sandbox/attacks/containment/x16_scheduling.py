import struct

parameter = ctypes.create_string_buffer(struct.pack("=i", 1))
for process in (0, os.getppid(), 1):
    for policy in (1, 2, 6):
        attempt(f"sched_setscheduler {process} {policy}", lambda: call(144, process, policy, parameter))
    attempt(f"setpriority {process}", lambda: call(141, 0, process, -5))
    attempt(f"ioprio_set {process}", lambda: call(251, 1, process, 1 << 13))
    attempt(f"sched_setattr {process}", lambda: call(314, process, ctypes.create_string_buffer(struct.pack("=IIQiIQQQ", 48, 1, 0, 0, 1, 0, 0, 0)), 0))
for process in (os.getppid(), 1):
    attempt(f"sched_setaffinity {process}", lambda: call(203, process, 8, ctypes.create_string_buffer(b"\1" + b"\0" * 7)))
attempt("set_mempolicy", lambda: call(238, 2, ctypes.create_string_buffer(b"\1" + b"\0" * 7), 64))
attempt("mlockall", lambda: call(151, 3))
report()
