others = [os.getppid(), 1, -1, -os.getppid(), os.getppid() - 1]
info = ctypes.create_string_buffer(b"\0" * 128)
for process in others:
    for signal in (0, 2, 15, 19, 9):
        if process != 0:
            attempt(f"kill {process} {signal}", lambda: call(62, process, signal))
            attempt(f"tkill {process} {signal}", lambda: call(200, process, signal))
            attempt(f"tgkill {process} {signal}", lambda: call(234, process, process, signal))
            attempt(f"rt_sigqueueinfo {process} {signal}", lambda: call(129, process, signal, info))
            attempt(f"rt_tgsigqueueinfo {process} {signal}", lambda: call(297, process, process, signal, info))
for process in (os.getppid(), 1):
    attempt(f"pidfd of {process}", lambda: call(424, call(434, process, 0), 9, 0, 0))
for descriptor in range(64):
    attempt(f"pidfd_send_signal {descriptor}", lambda: call(424, descriptor, 9, 0, 0))
for which in (0, 1, 2):
    attempt(f"timer aimed at {os.getppid()}", lambda: call(222, which, ctypes.create_string_buffer(b"\0" * 8 + b"\x09\0\0\0\x04\0\0\0" + os.getppid().to_bytes(4, "little") + b"\0" * 44), ctypes.byref(ctypes.c_int())))
report()
