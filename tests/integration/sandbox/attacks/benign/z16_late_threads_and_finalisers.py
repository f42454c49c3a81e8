import threading
import time


class Last:
    def __del__(self):
        print("finaliser")


said = threading.Event()


def late():
    said.wait()
    time.sleep(0.05)
    print("late")


last = Last()
threading.Thread(target=late).start()
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print("main")
said.set()
