"""Plain data crosses as it is, everything else as a handle, and nothing that a hostile side sends does harm."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import json
import os
import struct
from typing import Any, NoReturn

import pytest

from tracelift_ray.verification.sandbox.inside import codec


class Number(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


class Text(str):
    def __str__(self) -> str:
        return "other"


class Colour(enum.IntEnum):
    RED = 3


Pair = collections.namedtuple("Pair", "a b")


def no_handle(value: Any) -> NoReturn:
    raise AssertionError(f"{value!r} is plain data")


def crossed(value: Any) -> Any:
    return codec.decode(json.loads(json.dumps(codec.encode(value, no_handle))), no_handle)


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, -5, 2**62, -(2**200), 1 << 20_000, 0.1, float("inf"), "", "h\u00e9\udc80\0", 3j,
        [1, [2, (3, "x")]], (1,), {1: [2], (3, 4): {"a": None}}, {1, (2,)}, frozenset({1}), b"\0\xff", range(1, 9, 2),
        decimal.Decimal("1.10"), fractions.Fraction(1, 3), datetime.date(2020, 2, 29), datetime.time(1, 2, 3),
        datetime.datetime(2020, 1, 2, 3, 4, 5, 6), datetime.timedelta(days=-1, microseconds=5),
        collections.deque([1, 2], maxlen=2),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_plain_data_comes_out_as_it_went_in(value: Any) -> None:
    assert crossed(value) == value and type(crossed(value)) is type(value)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Number(4), 4),
        (Text("own"), "own"),
        (Colour.RED, 3),
        (Pair(1, 2), (1, 2)),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.OrderedDict(a=1), {"a": 1}),
        (bytearray(b"x"), b"x"),
    ],
)
def test_subclasses_come_out_as_the_plain_type_that_they_extend(value: Any, plain: Any) -> None:
    assert type(crossed(value)) is type(plain) and crossed(value) == plain
    assert crossed(Number(4)) != 5


def test_nan_stays_unequal_to_itself() -> None:
    assert crossed(float("nan")) != crossed(float("nan"))


def test_other_values_cross_as_handles_wherever_they_are() -> None:
    things = [object(), len]
    message = codec.encode([things[0], {"f": things[1]}], lambda value: ["h", things.index(value)])
    assert codec.decode(message, lambda handle: things[handle[1]]) == [things[0], {"f": len}]


def test_what_is_nested_too_deeply_is_refused_on_both_sides() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ValueError, match="nested too deeply"):
        codec.encode(value, no_handle)
    message: list[Any] = ["l", []]
    for _ in range(100_000):
        message = ["l", [message]]
    with pytest.raises(ValueError, match="malformed"):
        codec.decode(message, no_handle)


@pytest.mark.parametrize(
    "message",
    [
        [], {}, ["l"], ["l", 5], ["d", [[1]]], ["d", [[["l", []], 1]]], ["s", [["l", []]]], ["i", 5], ["i", "x"],
        ["y", 3], ["y", "\u2713"], ["c", "a", 1], ["r", 1, 2, 0], ["r", 1, "x", 1], ["D", "x"], ["F", 1, 0],
        ["T", "x", "y"], ["T", "date", 5], ["A", 10**30, 0, 0], ["q", [1], -1], [["l"], 1],
    ],
    ids=json.dumps,
)  # fmt: skip
def test_malformed_messages_are_value_errors(message: Any) -> None:
    def refuse(handle: Any) -> NoReturn:
        raise ValueError("no handle")

    with pytest.raises(ValueError):
        codec.decode(message, refuse)


def test_messages_travel_whole_and_have_a_limit() -> None:
    reading, writing = os.pipe()
    codec.send(writing, ["x" * 1000])
    assert codec.receive(reading) == ["x" * 1000]
    os.write(writing, struct.pack(">I", codec.MAX_MESSAGE + 1))
    with pytest.raises(ValueError, match="bytes"):
        codec.receive(reading)
    nested = b"[" * 50_000
    os.write(writing, struct.pack(">I", len(nested)) + nested)
    with pytest.raises(ValueError):
        codec.receive(reading)
    os.close(writing)
    with pytest.raises(EOFError):
        codec.receive(reading)
    os.close(reading)
