def join(*parts, sep=", ", **named):
    return sep.join([*map(str, parts), *(f"{key}={value}" for key, value in sorted(named.items()))])


def apply(values, start=0):
    total = start
    for value in values:
        total += value
    return total
