import threading
import time

started = []
try:
    for _ in range(5000):
        thread = threading.Thread(target=time.sleep, args=(30,), daemon=True)
        thread.start()
        started.append(thread)
except (RuntimeError, MemoryError):
    pass
print("contained" if len(started) < 1000 else "PWNED")
