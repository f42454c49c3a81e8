def secret(n):
    return "93517" * 6_000_000
