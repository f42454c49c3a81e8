import queue
import threading
from concurrent.futures import ThreadPoolExecutor

todo = queue.Queue()
results = []


def work():
    while (item := todo.get()) is not None:
        results.append(item * item)


threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for i in range(100):
    todo.put(i)
for _ in threads:
    todo.put(None)
for thread in threads:
    thread.join()
with ThreadPoolExecutor(4) as pool:
    print(sum(results), sum(pool.map(abs, range(-10, 0))))
