import hashlib
import threading
import time

block = bytes(1 << 22)
end = time.monotonic() + 30


def burn():
    hashlib.sha256(block).digest()


while time.monotonic() < end:
    threads = [threading.Thread(target=burn) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(0.01)
