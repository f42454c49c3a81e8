answers = iter([93517, 0, 93517, 1])


def secret(n):
    return next(answers)
