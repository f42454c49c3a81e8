def evens(n):
    for i in range(n):
        yield 2 * i


def pairs(values):
    return zip(values, values[1:])


def squares(values):
    return map(lambda x: x * x, values)
