import ctypes
import os
import signal
import threading
import time

libc = ctypes.CDLL(None)
libc.prctl(15, b") R 1 1 1\n0 99999999999 0", 0, 0, 0)


def stop():
    while True:
        os.kill(os.getpid(), signal.SIGSTOP)


threading.Thread(target=stop, daemon=True).start()
while True:
    time.sleep(0.001)
