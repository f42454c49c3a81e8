"""The process of the tests in a function test: runs the data's own code, and nothing of the program's.

The program's functions are ``Remote`` objects here: calling one asks the program's process. Only plain data comes
back, so comparing is done by Python's own types; a ``Remote`` value has no equality, no truth and no arithmetic, and a
test that needs them fails. Results go to a descriptor that the program's process does not have.

Names that a test does not define are looked up in this order: set-up, builtins, modules of the standard library where
only their attributes are used, and at last the program. So a program cannot replace what a test compares with.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import json
import os
import symtable
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from tracelift_ray.verification.sandbox.inside.rpc import MAX_DETAIL, Connection, Incomparable, Unusable

#: Where results go, one JSON line a test, and where a byte goes for each.
RESULTS, TICKS = 4, 5
TICK, TICK_GONE = b".", b"!"
#: What a result may say beside the outcomes of ``types.Outcome``: the program's process ended during the test, or the
#: test cannot be run whatever the program.
GONE, UNUSABLE = "gone", "unusable"

#: Modules that tests use under a short name.
_ALIASES = {"np": "numpy", "pd": "pandas"}


class Tests:
    """Runs tests one after another and writes a result for each."""

    def __init__(self, setup: str, asserts: Sequence[str], entry_point: str | None) -> None:
        self._setup = setup
        self._asserts = asserts
        self._entry_point = entry_point
        self._index = 0
        self._connection = Connection(self._gone)
        self._names: dict[str, Any] = {"__name__": "__test__", "__builtins__": builtins}

    def run(self, first: int, stop_early: bool) -> None:
        """Runs the tests from number ``first`` on; ``stop_early``: up to the first that does not pass."""
        self._index = first
        self._connection.wait()
        prepared = self._outcome(self._prepare)
        for index in range(first, len(self._asserts)):
            self._index = index
            outcome, detail = prepared
            if outcome == "passed":
                outcome, detail = self._outcome(self._test)
            self._record(outcome, detail)
            if outcome == UNUSABLE or (stop_early and outcome != "passed"):
                return

    def _prepare(self) -> None:
        if self._setup:
            self._execute(self._setup, "<setup>", is_test=False)
        if self._entry_point is not None:
            known, value = self._connection.name(self._entry_point)
            if not known:
                raise NameError(f"the program does not define {self._entry_point}")
            self._names[self._entry_point] = value

    def _test(self) -> None:
        self._execute(self._asserts[self._index], "<test>", is_test=self._entry_point is None)
        if self._entry_point is not None and "check" in self._names:
            self._names["check"](self._names[self._entry_point])

    def _execute(self, source: str, name: str, *, is_test: bool) -> None:
        try:
            code = compile(source, name, "exec", dont_inherit=True)
            wanted = Wanted(source, self._names)
        except (SyntaxError, ValueError, RecursionError) as error:
            raise Unusable(f"a test is not Python ({error})") from None
        for module in wanted.modules:
            self._names[module] = importlib.import_module(import_name(module))
        names = wanted.of_program
        if is_test and not names and not wanted.defined:
            names = wanted.called_builtins
            if len(names) != 1:
                raise Unusable("a test does not name what it tests")
        for each in names:
            known, value = self._connection.name(each)
            if known:
                self._names[each] = value
            elif hasattr(builtins, each):
                raise NameError(f"the program does not define {each}")
        exec(code, self._names)

    def _outcome(self, action: Callable[[], None]) -> tuple[str, str]:
        asked_before = self._connection.asked
        try:
            action()
        except Incomparable as error:
            return "wrong_answer", str(error)
        except Unusable as error:
            return UNUSABLE, str(error)
        except AssertionError as error:
            if getattr(error, "of_program", False):
                return "runtime_error", f"AssertionError: {error}"
            return "wrong_answer", str(error) or "the assertion does not hold"
        except BaseException as error:  # Raised by the program's code or by what a test does with what it returned.
            if isinstance(error, MemoryError):
                return "memory_limit", "MemoryError"
            detail = f"{type(error).__name__}: {error}"
            own = not self._connection.asked and not asked_before and not isinstance(error, NameError)
            return (UNUSABLE, f"a test fails by itself ({detail})") if own else ("runtime_error", detail)
        return "passed", ""

    def _gone(self, detail: str) -> NoReturn:
        self._record(GONE, detail)
        os._exit(0)

    def _record(self, outcome: str, detail: str) -> None:
        line = json.dumps([self._index, outcome, detail[:MAX_DETAIL]]) + "\n"
        os.write(RESULTS, line.encode())
        os.write(TICKS, TICK_GONE if outcome == GONE else TICK)


class Wanted:
    """What a test's code uses without defining it, beside what ``known`` holds.

    Attributes:
        of_program: names that only the program can have.
        modules: names of modules, of which it uses nothing but attributes.
        called_builtins: builtins that it calls.
        defined: whether it uses a name that set-up or an earlier test defined.
    """

    def __init__(self, source: str, known: Mapping[str, Any]) -> None:
        tree = ast.parse(source)
        loaded = list(_free_names(symtable.symtable(source, "<test>", "exec")))
        bases = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        plain = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in bases}
        unknown = [name for name in dict.fromkeys(loaded) if name not in known and not hasattr(builtins, name)]
        self.modules = [name for name in unknown if name not in plain and _is_module(name)]
        self.of_program = [name for name in unknown if name not in self.modules]
        calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
        called = dict.fromkeys(func.id for func in calls if isinstance(func, ast.Name))
        self.called_builtins = [name for name in called if name not in known and hasattr(builtins, name)]
        self.defined = any(name in known and not name.startswith("__") for name in loaded)


def run_tests(setup: str, asserts: Sequence[str], entry_point: str | None, first: int, stop_early: bool) -> None:
    """Runs the tests from number ``first`` on, and ends the process."""
    Tests(setup, asserts, entry_point).run(first, stop_early)
    os._exit(0)


def _free_names(table: symtable.SymbolTable) -> Iterator[str]:
    """Names that code reads from its globals without writing them there."""
    for symbol in table.get_symbols():
        if table.get_type() == "module":
            free = symbol.is_referenced() and not (symbol.is_assigned() or symbol.is_imported())
        else:
            free = symbol.is_referenced() and symbol.is_global() and not symbol.is_assigned()
        if free:
            yield symbol.get_name()
    for child in table.get_children():
        yield from _free_names(child)


def import_name(name: str) -> str:
    """What is imported for a module that a test uses as ``name``."""
    return _ALIASES.get(name, name)


def _is_module(name: str) -> bool:
    return name in sys.stdlib_module_names or name in _ALIASES
