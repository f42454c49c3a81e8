"""The script that runs one function test in a code service: its source is sent, with the arguments of ``main``.

Runs in the service's Python, so it imports the standard library only. The last line of stdout is the token, the outcome
and a detail. The program shares this process: it can find the token, replace what the test works with, or return
objects that equal everything. A program that only prints, exits or replaces builtins gets no result by it.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import os
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

#: The outcome of a test that cannot be run, whatever the program.
UNUSABLE = "unusable"
OUTCOMES = ("passed", "wrong_answer", "runtime_error", "memory_limit", "does_not_compile", UNUSABLE)
PROGRAM, PROGRAM_FILE, TEST_FILE = "program", "program.py", "<test>"


def main(
    token: str,
    program: str,
    setup: str,
    test: str,
    entry_point: str | None,
    names: Sequence[str],
    modules: Mapping[str, str],
) -> NoReturn:
    """Load the program, run the test, write what it says, and end the process.

    Args:
        token: stands before the result.
        names: what the test uses of the program.
        modules: modules that the test uses without importing them, by their name in it.
    """
    # Taken before the program is loaded, which may replace them.
    write, exit_now, flush = os.write, os._exit, sys.stdout.flush
    failed, out_of_memory, anything = AssertionError, MemoryError, BaseException
    heads = {outcome: f"\n{token} {outcome} ".encode() for outcome in OUTCOMES}

    def end(outcome: str, detail: str = "") -> NoReturn:
        flush()
        write(1, heads[outcome] + " ".join(detail.split())[:300].encode("ascii", "backslashreplace") + b"\n")
        exit_now(0)

    tests: dict[str, Any] = {"__name__": "__test__", "__builtins__": dict(vars(builtins))}
    try:
        tests |= {name: importlib.import_module(module) for name, module in modules.items()}
    except ImportError as error:
        end(UNUSABLE, f"{type(error).__name__}: {error}")
    checks = [compile(source, TEST_FILE, "exec", dont_inherit=True) for source in (setup, test)]
    try:
        code = compile(program, PROGRAM_FILE, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError) as error:
        end("does_not_compile", f"{type(error).__name__}: {error}")
    loaded = types.ModuleType(PROGRAM)
    sys.modules[PROGRAM] = loaded
    try:
        if setup:
            with contextlib.suppress(Exception):  # It may need the program, and runs again beside the test.
                exec(checks[0], loaded.__dict__)
        exec(code, loaded.__dict__)
        if entry_point is not None and not hasattr(loaded, entry_point):
            raise NameError(f"the program does not define {entry_point}")
        wanted = names if entry_point is None else (*names, entry_point)
        tests |= {name: getattr(loaded, name) for name in wanted if hasattr(loaded, name)}
        exec(checks[0], tests)
        exec(checks[1], tests)
        if entry_point is not None and "check" in tests:
            tests["check"](tests[entry_point])
    except failed as error:
        end("wrong_answer" if _raised_by_test(error) else "runtime_error", str(error) or "the assertion does not hold")
    except out_of_memory:
        end("memory_limit", "MemoryError")
    except anything as error:  # Raised by the program's code, or by what the test does with its values.
        end("runtime_error", f"{type(error).__name__}: {error}")
    end("passed")


def _raised_by_test(error: BaseException) -> bool:
    """Whether the innermost frame of an error is the test's own."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return place is not None and place.tb_frame.f_code.co_filename == TEST_FILE
