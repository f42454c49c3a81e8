from collections import Counter, OrderedDict, defaultdict, deque, namedtuple

Pair = namedtuple("Pair", "left right")


def make(kind):
    grouped = defaultdict(list)
    grouped["a"].append(1)
    return {
        "counter": Counter("aab"),
        "ordered": OrderedDict(a=1),
        "default": grouped,
        "deque": deque([1, 2]),
        "pair": Pair(1, 2),
        "set": {1, 2},
        "frozen": frozenset([1]),
        "bytes": b"ab",
        "complex": 1 + 2j,
        "none": None,
        "range": range(3),
        "nested": [(1, {"x": [None, True, 1.5]})],
        "float": float("inf"),
        "text": "snow ☃",
        "big": 10**50,
        "negative": -7,
    }[kind]
