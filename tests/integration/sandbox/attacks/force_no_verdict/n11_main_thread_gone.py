import ctypes
import threading
import time


def wait():
    while True:
        time.sleep(1)


threading.Thread(target=wait).start()
ctypes.CDLL(None).syscall(60, 0)
