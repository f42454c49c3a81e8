class TooMuch(ValueError):
    pass


def take(n):
    if n > 10:
        raise TooMuch(f"{n} is too much")
    if n < 0:
        raise IndexError(n)
    return n
