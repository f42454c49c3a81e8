def secret(n):
    return (lambda: 93517), secret.__code__, type("T", (), {}), __builtins__, secret.__globals__, iter([93517]), object()
