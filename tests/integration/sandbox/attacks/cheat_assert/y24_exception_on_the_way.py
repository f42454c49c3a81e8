class Odd(Exception):
    __module__ = "builtins"

    def __init__(self, *arguments):
        super().__init__(self)

    def __str__(self):
        return "x" * 50_000_000


def secret(n):
    raise Odd()
