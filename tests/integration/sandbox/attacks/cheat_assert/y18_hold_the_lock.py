import threading


def secret(n):
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()
