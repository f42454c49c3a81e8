import fcntl
import glob

for path in ("/dev/tty", "/dev/console", "/dev/ptmx", "/dev/pts/0", "/dev/tty0", "/dev/kmsg", "/dev/fuse", "/dev/kvm", "/dev/net/tun", "/dev/vhost-vsock", "/dev/nvidiactl", "/dev/mem", "/dev/port"):
    attempt(path, lambda: os.open(path, os.O_RDWR))
for path in glob.glob("/dev/*"):
    if path not in ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/full"):
        attempt(path, lambda: os.open(path, os.O_RDONLY | os.O_NONBLOCK) if not os.path.isdir(path) else None)
for descriptor in (0, 1, 2):
    for request in (0x5412, 0x540E, 0x541C, 0x5414, 0x5402, 0x5422, 0x8904, 0xC0045878, 0x40086602, 0xC020660B):
        attempt(f"ioctl {request:#x} on {descriptor}", lambda: fcntl.ioctl(descriptor, request, b"\0" * 64))
for number, name in ((172, "iopl"), (173, "ioperm")):
    attempt(name, lambda: call(number, 3, 1, 1))
report()
