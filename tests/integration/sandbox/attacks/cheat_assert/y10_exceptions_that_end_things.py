import os


class Quiet(BaseException):
    def __str__(self):
        os._exit(0)

    __repr__ = __str__

    def __getattribute__(self, name):
        raise SystemExit(0)


KINDS = (SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration, StopAsyncIteration, AssertionError, EOFError, BrokenPipeError, ConnectionResetError, MemoryError, RecursionError)


def secret(n):
    if n < len(KINDS):
        raise KINDS[n]()
    raise Quiet()
