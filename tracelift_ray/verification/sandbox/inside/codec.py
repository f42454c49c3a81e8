"""What crosses between a solution and its tests: plain data, written as JSON, and handles for everything else.

Neither side trusts the other: decoding builds only values of Python's own types, from a message of limited size, and
raises ``ValueError`` on anything else. A subclass arrives as the plain type that it extends.
"""

from __future__ import annotations

import builtins
import datetime
import json
import os
import struct
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

#: Bytes of one message.
MAX_MESSAGE = 32 * 1024**2
MAX_DEPTH = 150
_SMALL = 1 << 62

Encode = Callable[[Any], list[Any]]
Decode = Callable[[list[Any]], Any]


def encode(value: Any, foreign: Encode, depth: int = 0) -> Any:
    """``value`` as JSON values.

    Args:
        foreign: makes the message of a value that is not plain data.

    Raises:
        ValueError: nested deeper than ``MAX_DEPTH``.
    """
    kind = type(value)
    if value is None or kind is bool or kind is float or kind is str:
        return value
    if kind is int:
        return value if -_SMALL < value < _SMALL else ["i", format(value, "x")]
    if depth > MAX_DEPTH:
        raise ValueError("a value is nested too deeply to be compared")
    for base, write in _WRITERS:
        if isinstance(value, base):
            return write(value, lambda item: encode(item, foreign, depth + 1))
    if kind.__module__.partition(".")[0] == "numpy" and hasattr(value, "tolist"):
        return encode(value.tolist(), foreign, depth + 1)
    return foreign(value)


def decode(message: Any, foreign: Decode) -> Any:
    """The value of a message.

    Args:
        foreign: makes a value of the message of one that is not plain data.

    Raises:
        ValueError: the message is malformed.
    """
    if message is None or type(message) in (bool, int, float, str):
        return message
    try:
        tag = message[0]
        read = _READERS.get(tag)
        return foreign(message) if read is None else read(message, lambda item: decode(item, foreign))
    except (TypeError, AttributeError, LookupError, ArithmeticError, RecursionError, OSError) as error:
        raise ValueError(f"a malformed message ({type(error).__name__})") from None


def send(descriptor: int, message: Any) -> None:
    """Write one message. Raises OSError where the other side is gone."""
    body = json.dumps(message).encode()
    data = memoryview(struct.pack(">I", len(body)) + body)
    while data:
        data = data[os.write(descriptor, data) :]


def receive(descriptor: int) -> Any:
    """Read one message.

    Raises:
        EOFError: the other side is gone.
        ValueError: the message is longer than ``MAX_MESSAGE``, or no JSON.
    """
    (size,) = struct.unpack(">I", _read(descriptor, 4))
    if size > MAX_MESSAGE:
        raise ValueError(f"a message of {size} bytes")
    try:
        return json.loads(_read(descriptor, size))
    except RecursionError:
        raise ValueError("a message nested too deeply") from None


def builtin_exception(name: str, text: str) -> Exception:
    """The exception of a class that the other side named, as the builtin that it is or extends."""
    kind = getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        kind = RuntimeError
    try:
        return kind(text)
    except TypeError:  # UnicodeDecodeError and its like need more than a text.
        return RuntimeError(f"{name}: {text}")


def _read(descriptor: int, size: int) -> bytearray:
    data = bytearray()
    while len(data) < size:
        chunk = os.read(descriptor, min(size - len(data), 1 << 20))
        if not chunk:
            raise EOFError("the other side is gone")
        data += chunk
    return data


def _integer(value: int, _: Callable[[Any], Any]) -> Any:
    plain = int(value)
    return plain if -_SMALL < plain < _SMALL else ["i", format(plain, "x")]


def _text(value: str, _: Callable[[Any], Any]) -> Any:
    return "".join(str.__iter__(value))


#: Base types in the order in which they are tried, with what writes one (and its subclasses).
_WRITERS: tuple[tuple[Any, Callable[[Any, Callable[[Any], Any]], Any]], ...] = (
    (list, lambda v, each: ["l", [each(item) for item in list.__iter__(v)]]),
    (tuple, lambda v, each: ["t", [each(item) for item in tuple.__iter__(v)]]),
    (dict, lambda v, each: ["d", [[each(key), each(item)] for key, item in dict.items(v)]]),
    (set, lambda v, each: ["s", [each(item) for item in set.__iter__(v)]]),
    (frozenset, lambda v, each: ["z", [each(item) for item in frozenset.__iter__(v)]]),
    (int, _integer),
    (float, lambda v, _: float(v)),
    (str, _text),
    ((bytes, bytearray), lambda v, _: ["y", v.decode("latin-1")]),
    (complex, lambda v, _: ["c", v.real, v.imag]),
    (range, lambda v, each: ["r", each(v.start), each(v.stop), each(v.step)]),
    (deque, lambda v, each: ["q", [each(item) for item in deque.__iter__(v)], v.maxlen]),
    (Decimal, lambda v, _: ["D", str(v)]),
    (Fraction, lambda v, each: ["F", each(v.numerator), each(v.denominator)]),
    (datetime.datetime, lambda v, _: ["T", "datetime", v.isoformat()]),
    (datetime.date, lambda v, _: ["T", "date", v.isoformat()]),
    (datetime.time, lambda v, _: ["T", "time", v.isoformat()]),
    (datetime.timedelta, lambda v, _: ["A", v.days, v.seconds, v.microseconds]),
)
_TIMES: dict[str, Any] = {"datetime": datetime.datetime, "date": datetime.date, "time": datetime.time}
_READERS: dict[Any, Callable[[Any, Callable[[Any], Any]], Any]] = {
    "i": lambda m, _: int(m[1], 16),
    "l": lambda m, each: [each(item) for item in m[1]],
    "t": lambda m, each: tuple([each(item) for item in m[1]]),
    "d": lambda m, each: {each(key): each(item) for key, item in m[1]},
    "s": lambda m, each: {each(item) for item in m[1]},
    "z": lambda m, each: frozenset([each(item) for item in m[1]]),
    "y": lambda m, _: m[1].encode("latin-1"),
    "c": lambda m, _: complex(m[1], m[2]),
    "r": lambda m, each: range(each(m[1]), each(m[2]), each(m[3])),
    "q": lambda m, each: deque([each(item) for item in m[1]], m[2]),
    "D": lambda m, _: Decimal(m[1]),
    "F": lambda m, each: Fraction(each(m[1]), each(m[2])),
    "T": lambda m, _: _TIMES[m[1]].fromisoformat(m[2]),
    "A": lambda m, _: datetime.timedelta(m[1], m[2], m[3]),
}
