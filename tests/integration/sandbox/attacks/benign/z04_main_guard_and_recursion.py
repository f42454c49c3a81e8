import sys
import threading


def depth(n):
    return 0 if n == 0 else 1 + depth(n - 1)


def main():
    print(depth(50_000))


if __name__ == "__main__":
    sys.setrecursionlimit(10**6)
    threading.stack_size(64 * 1024 * 1024)
    worker = threading.Thread(target=main)
    worker.start()
    worker.join()
