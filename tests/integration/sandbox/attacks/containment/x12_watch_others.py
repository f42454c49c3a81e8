import fcntl

for path in (b"/", b"/tmp", b"/tmp/sandbox_canary", b"/proc", b"/dev/shm", b"..", b"."):

    def watched():
        watcher = call(294, 0)
        return call(254, watcher, path, 0xFFF)

    attempt(f"inotify {path}", watched)
    attempt(f"dnotify {path}", lambda: fcntl.fcntl(os.open(path, os.O_RDONLY), 1026, 0x3F) or "watching")
attempt("inotify_init", lambda: call(253))
attempt("fanotify_init", lambda: call(300, 0, 0))
attempt("fanotify_init unprivileged", lambda: call(300, 0x200, 0))
for descriptor in (0, 1, 2):
    attempt(f"lease on {descriptor}", lambda: fcntl.fcntl(descriptor, 1024, 1) or "leased")
report()
