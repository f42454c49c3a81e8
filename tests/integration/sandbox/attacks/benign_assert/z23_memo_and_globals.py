from functools import cache

calls = 0


@cache
def ways(n):
    global calls
    calls += 1
    return 1 if n < 2 else ways(n - 1) + ways(n - 2)


LIMIT = 1000
