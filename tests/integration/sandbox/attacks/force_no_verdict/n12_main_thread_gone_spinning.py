import ctypes
import threading


def spin():
    while True:
        pass


threading.Thread(target=spin).start()
ctypes.CDLL(None).syscall(60, 0)
