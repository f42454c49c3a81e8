def secret(n):
    while True:
        yield 0
