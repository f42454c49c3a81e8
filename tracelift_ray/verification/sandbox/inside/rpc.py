"""The tests' side of the RPC to the program's process: requests, replies, and references to what is no plain data.

From anything that the program sends come values of Python's own types, or ``Remote`` objects that can be used but not
compared, or the test ends.
"""

from __future__ import annotations

import builtins
import types
from collections.abc import Callable
from typing import Any, NoReturn

from tracelift_ray.verification.sandbox.inside import codec
from tracelift_ray.verification.sandbox.inside.solution import CHANNEL, LOADED

MAX_DETAIL = 300


class Incomparable(BaseException):
    """The test needs of a value what only plain data has. Not an ``Exception``, so that no test catches it."""


class Remote:
    """Something of the program's that is no plain data. Everything but using it as an object fails the test."""

    __slots__ = ("_connection", "_number")

    def __init__(self, connection: Connection, number: int) -> None:
        object.__setattr__(self, "_connection", connection)
        object.__setattr__(self, "_number", number)

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self._connection.call(self._number, args, named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._connection.ask("get", self._number, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._connection.ask("set", self._number, name, self._connection.out(value))

    def __iter__(self) -> Any:
        return self._connection.ask("iterate", self._number)

    def __next__(self) -> Any:
        return self._connection.ask("next", self._number)

    def __len__(self) -> Any:
        return self._connection.ask("length", self._number)

    def __getitem__(self, key: Any) -> Any:
        return self._connection.ask("item", self._number, self._connection.out(key))

    def __str__(self) -> Any:
        return self._connection.ask("text", self._number)

    def _refuse(self, *_: Any) -> NoReturn:
        raise Incomparable("the value is no plain data, so it cannot be compared")

    __repr__ = object.__repr__
    __hash__ = object.__hash__
    __eq__ = __ne__ = __lt__ = __gt__ = __le__ = __ge__ = __bool__ = __index__ = __int__ = __float__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse
    __abs__ = __round__ = _refuse


class Connection:
    """Requests to the program's process.

    Attributes:
        asked: whether anything of the program's is in the tests' hands; what fails before that is not its doing.
    """

    def __init__(self, gone: Callable[[str], NoReturn]) -> None:
        self.asked = False
        self._gone = gone
        self._functions: list[Callable[..., Any]] = []

    def wait(self) -> None:
        """Wait until the program is loaded."""
        if self._receive() != LOADED:
            self._gone("the program spoke before it was asked")

    def name(self, name: str) -> tuple[bool, Any]:
        """Whether the program has a global of this name, and its value."""
        asked, self.asked = self.asked, True  # until its answer is known to be in order
        parts = self._reply(["name", name])
        if len(parts) != 2:
            self._gone("the program sent a malformed reply")
        known, value = parts[0] is True, self._in(parts[1])
        self.asked = asked or known
        return known, value

    def ask(self, operation: str, *parts: Any) -> Any:
        """What the program answers, as plain data or a ``Remote``. Raises what it raised, as a builtin exception."""
        self.asked = True
        return self._in(self._reply([operation, *parts])[0])

    def call(self, number: int, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call something; lists, dicts and sets that it changed in place change here too."""
        self.asked = True
        parts = [self.out(each) for each in args], [[key, self.out(value)] for key, value in named.items()]
        result, changed = self._reply(["call", number, *parts])[:2]
        for index, after in changed if result is None else ():
            _replace(args[index], self._in(after))
        return self._in(result)

    def out(self, value: Any) -> Any:
        """A value of the test's, for the program. Raises Unusable where it cannot cross."""
        return codec.encode(value, self._local)

    def _reply(self, request: list[Any]) -> list[Any]:
        try:
            codec.send(CHANNEL, request)
        except OSError:
            self._gone("the program ended")
        while True:
            reply = self._receive()
            try:
                kind, *parts = reply
                if kind == "callback":
                    codec.send(CHANNEL, self._call_back(*parts))
                    continue
                if kind == "ok":
                    return parts
                error_of_program = codec.builtin_exception(str(parts[0]), str(parts[1]))
                error_of_program.of_program = True  # type: ignore[attr-defined]
                raise error_of_program
            except (TypeError, LookupError) as error:
                if not isinstance(reply, list) or reply[:1] != ["ex"]:
                    self._gone(f"the program sent a malformed reply ({type(error).__name__})")
                raise

    def _receive(self) -> Any:
        try:
            return codec.receive(CHANNEL)
        except (EOFError, OSError):
            self._gone("the program ended")
        except (ValueError, MemoryError) as error:
            self._gone(f"the program sent a malformed reply ({error})")

    def _in(self, message: Any) -> Any:
        try:
            return codec.decode(message, self._foreign)
        except (ValueError, MemoryError) as error:
            self._gone(f"the program sent a malformed reply ({error})")

    def _foreign(self, message: list[Any]) -> Remote:
        kind, number = message
        if kind != "h" or type(number) is not int:
            raise ValueError("a malformed handle")
        return Remote(self, number)

    def _local(self, value: Any) -> list[Any]:
        if type(value) is Remote:
            return ["h", value._number]
        name = getattr(value, "__name__", "")
        if getattr(builtins, str(name), None) is value:
            return ["b", name]
        if isinstance(value, types.FunctionType):
            self._functions.append(value)
            return ["f", len(self._functions) - 1]
        raise Unusable(f"a test hands over a {type(value).__name__}, which cannot leave its process")

    def _call_back(self, number: int, args: list[Any], named: list[Any]) -> list[Any]:
        values = [self._in(each) for each in args]
        try:
            result = self._functions[number](*values, **{str(key): self._in(value) for key, value in named})
            return ["returned", self.out(result)]
        except Unusable as error:  # The program chose what it called the function with, so the test is not at fault.
            return ["raised", "TypeError", str(error)]
        except Exception as error:  # It goes to the program that called, as any exception of a function does.
            return ["raised", type(error).__name__, str(error)[:MAX_DETAIL]]


class Unusable(BaseException):
    """The test cannot be run, whatever the program. Not an ``Exception``, so that no test catches it."""


def _replace(held: Any, after: Any) -> None:
    """Give a list, dict or set the content of another of its own type."""
    if type(held) is not type(after):
        return
    held.clear()
    held.extend(after) if isinstance(held, list) else held.update(after)
