parents = [os.getppid(), 1, os.getppid() - 1]
for process in parents:
    for request in (16, 0x4206, 0, 1):
        if request != 0 and process > 0:
            attempt(f"ptrace {request} of {process}", lambda: call(101, request, process, 0, 0))
    attempt(f"kcmp with {process}", lambda: call(312, os.getpid(), process, 0, 0, 0))
    attempt(f"pidfd_open of {process}", lambda: call(434, process, 0))
    attempt(f"get_robust_list of {process}", lambda: call(274, process, ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)))
    attempt(f"move_pages of {process}", lambda: call(279, process, 0, 0, 0, 0, 0))
    attempt(f"migrate_pages of {process}", lambda: call(256, process, 8, ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)))
for descriptor in range(64):
    attempt(f"pidfd_getfd of {descriptor}", lambda: call(438, descriptor, 0, 0))
attempt("PTRACE_TRACEME", lambda: call(101, 0, 0, 0, 0))
report()
