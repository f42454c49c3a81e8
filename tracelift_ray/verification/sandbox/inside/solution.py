"""The process of the program in a function test: loads it, then does what the tests' process asks of it.

It never sees the tests, only the calls that they make, one after another. A request is ``[operation, …]``; its reply
``["ok", value, changed]`` or ``["ex", class of exception, text]``. Objects that are no plain data stay here and go by
their number. Nothing here guards anything: a program that tampers with it can only send what it could have returned.
"""

from __future__ import annotations

import _thread
import contextlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from tracelift_ray.verification.sandbox.inside import codec
from tracelift_ray.verification.sandbox.inside.program import compile_program, finish, guarded, make_module

#: The descriptor that leads to the tests' process.
CHANNEL = 3
#: What this process says once the program is loaded.
LOADED = ["loaded"]
MODULE = "program"
_MAX_TEXT = 500
_ENDED_ITSELF = 1


def run_solution(program: str, setup: str, report: int) -> None:
    """Runs the set-up and the program, then serves until the tests' process is gone, and ends the process.

    The set-up runs first because a program may use its imports; where it needs the program, it fails here and is
    ignored: it runs again beside the tests.
    """
    module = make_module(MODULE)
    loaded: list[bool] = []

    def load() -> None:
        if setup:
            with contextlib.suppress(Exception):
                exec(compile(setup, "<setup>", "exec", dont_inherit=True), module.__dict__)
        exec(code, module.__dict__)
        loaded.append(True)

    code = compile_program(program, report)
    exit_code = guarded(load)
    if not loaded:
        finish(exit_code or _ENDED_ITSELF, module)
    codec.send(CHANNEL, LOADED)
    finish(guarded(Server(module).serve), module)


class Server:
    """Answers requests about the program, one at a time."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._objects: list[Any] = []
        self._calling_back = _thread.RLock()

    def serve(self) -> None:
        """Answers until the other side is gone."""
        while True:
            try:
                request = codec.receive(CHANNEL)
            except EOFError:
                return
            codec.send(CHANNEL, self._answer(request))

    def _answer(self, request: list[Any]) -> list[Any]:
        try:
            operation, *rest = request
            return ["ok", *_OPERATIONS[operation](self, *rest)]
        except BaseException as error:  # An error of the program belongs to the test that called it.
            if isinstance(error, SystemExit):
                raise
            names = [each.__name__ for each in type(error).__mro__ if each.__module__ == "builtins"]
            return ["ex", names[0], _text_of(error)]

    def name(self, name: str) -> tuple[Any, ...]:
        """A global of the program; a missing one differs from one that holds None."""
        known = vars(self._module)
        return (True, self._out(known[name])) if name in known else (False, None)

    def call(self, target: int, args: list[Any], named: list[Any]) -> tuple[Any, ...]:
        """The result, and the arguments that the call changed in place; those only where it returned None."""
        values = [self._in(each) for each in args]
        result = self._objects[target](*values, **{key: self._in(value) for key, value in named})
        changed: list[Any] = []
        if result is None:
            for index, (value, before) in enumerate(zip(values, args, strict=True)):
                if type(value) in (list, dict, set) and (after := self._out(value)) != before:
                    changed.append([index, after])
        return self._out(result), changed

    def set(self, target: int, name: str, value: Any) -> tuple[Any, ...]:
        setattr(self._objects[target], name, self._in(value))
        return (None,)

    def _out(self, value: Any) -> Any:
        return codec.encode(value, self._foreign)

    def _foreign(self, value: Any) -> list[Any]:
        self._objects.append(value)
        return ["h", len(self._objects) - 1]

    def _in(self, message: Any) -> Any:
        return codec.decode(message, self._local)

    def _local(self, message: list[Any]) -> Any:
        kind, value = message
        if kind == "h":
            return self._objects[value]
        if kind == "b":
            return getattr(__builtins__, value) if isinstance(__builtins__, ModuleType) else __builtins__[value]
        return self._callback(value)

    def _callback(self, number: int) -> Callable[..., Any]:
        """A function of the tests, called where it is: over there."""

        def call(*args: Any, **named: Any) -> Any:
            with self._calling_back:
                parts = [self._out(each) for each in args], [[key, self._out(each)] for key, each in named.items()]
                codec.send(CHANNEL, ["callback", number, *parts])
                while True:
                    message = codec.receive(CHANNEL)
                    if message[0] == "returned":
                        return self._in(message[1])
                    if message[0] == "raised":
                        raise codec.builtin_exception(message[1], message[2])
                    codec.send(CHANNEL, self._answer(message))

        return call


#: What is asked of the program, or of one of its objects; each takes the server and the rest of the request.
_OPERATIONS: dict[str, Callable[..., tuple[Any, ...]]] = {
    "name": Server.name,
    "call": Server.call,
    "get": lambda server, target, name: (server._out(getattr(server._objects[target], name)),),
    "set": Server.set,
    "iterate": lambda server, target: (server._foreign(iter(server._objects[target])),),
    "next": lambda server, target: (server._out(next(server._objects[target])),),
    "length": lambda server, target: (len(server._objects[target]),),
    "item": lambda server, target, key: (server._out(server._objects[target][server._in(key)]),),
    "text": lambda server, target: (str(server._objects[target]),),
}


def _text_of(error: BaseException) -> str:
    try:
        return str(error)[:_MAX_TEXT]
    except BaseException:  # ``__str__`` is the program's own.
        return ""
