import concurrent.futures
import ctypes
import http.client
import inspect
import logging
import multiprocessing
import pickle
import select
import socket
import sqlite3
import ssl
import subprocess
import unittest
import urllib.request
import zoneinfo
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Pair(NamedTuple):
    left: int
    right: int = 2


class Box(Generic[T]):
    pass


class Test(unittest.TestCase):
    def test(self):
        self.assertEqual(Pair(1), (1, 2))


def double(n):
    return 2 * n


logging.warning("a remark")
unittest.main(exit=False)
match [1, 2]:
    case [a, b]:
        print(a + b)
try:
    raise ExceptionGroup("both", [ValueError(1), TypeError(2)])
except* ValueError as group:
    print(len(group.exceptions))
except* TypeError:
    pass
print(pickle.loads(pickle.dumps(Pair(3))), inspect.getsource(double).splitlines()[-1].strip(), Box[int].__name__)
print(sqlite3.connect(":memory:").execute("select 1 + 1").fetchone(), ctypes.sizeof(ctypes.c_int))
print(datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")).utcoffset())
