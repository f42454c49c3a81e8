def secret(n):
    nested = 93517
    for _ in range(200_000):
        nested = [nested]
    return nested
