import threading
import time


class Last:
    def __del__(self):
        print("finaliser")


def late():
    time.sleep(0.05)
    print("late")


last = Last()
threading.Thread(target=late).start()
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print("main")
