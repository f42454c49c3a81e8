for key in (0, 1, 0x7A57):
    attempt(f"shmget {key}", lambda: call(29, key, 4096, 0o1666))
    attempt(f"semget {key}", lambda: call(64, key, 1, 0o1666))
    attempt(f"msgget {key}", lambda: call(68, key, 0o1666))
for number in range(64):
    attempt(f"shmat {number}", lambda: call(30, number, 0, 0o10000))
    attempt(f"msgrcv {number}", lambda: call(70, number, ctypes.create_string_buffer(64), 32, 0, 0o4000))
for name in (b"planted", b"q"):
    attempt(f"mq_open {name}", lambda: call(240, name, os.O_CREAT | os.O_RDWR, 0o666, 0))
    attempt(f"mq_unlink {name}", lambda: call(241, name))
for name in ("/dev/shm/planted", "/dev/mqueue/planted"):
    attempt(name, lambda: os.open(name, os.O_CREAT | os.O_RDWR))
report()
