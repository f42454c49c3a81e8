import array
import bisect
import calendar
import cmath
import collections
import copy
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import hashlib
import heapq
import itertools
import json
import math
import operator
import random
import re
import statistics
import string
import struct
import textwrap
import time
import typing
import unicodedata
import uuid
import zlib


@dataclasses.dataclass(order=True, frozen=True)
class Point:
    x: int
    y: int = 0


class Colour(enum.Enum):
    RED = 1


@functools.lru_cache(maxsize=None)
def fib(n: int) -> int:
    return n if n < 2 else fib(n - 1) + fib(n - 2)


heap: typing.List[Point] = [Point(3), Point(1, 2), Point(1)]
heapq.heapify(heap)
print(heapq.heappop(heap), fib(90), decimal.Decimal("0.1") * 3, fractions.Fraction(1, 3) + 1)
print(list(itertools.combinations("abc", 2)), collections.Counter("aab").most_common(1), bisect.bisect([1, 3], 2))
print(re.findall(r"\d+", "a1b22"), statistics.median([3, 1, 2]), math.isqrt(17), cmath.sqrt(-1), Colour.RED.name)
print(datetime.date(2024, 2, 29).isoformat(), calendar.isleap(2024), json.dumps({"a": [1, None]}), hashlib.md5(b"a").hexdigest())
print(copy.deepcopy([[1]]), operator.add(1, 2), string.ascii_lowercase[:3], struct.pack(">H", 258), array.array("i", [1, 2]).tolist())
print(textwrap.shorten("a b c", 12), unicodedata.name("a"), len(zlib.compress(b"a" * 100)) < 100, uuid.UUID(int=1), random.Random(1).random() < 1, time.time() > 0)
