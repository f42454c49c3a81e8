"""Runs a program the way ``python program.py`` would, in a process that is confined already.

Nothing here guards anything: the program can change all of it, to its own harm only.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import gc
import io
import linecache
import marshal
import os
import sys
import traceback
from collections.abc import Callable
from types import CodeType, ModuleType
from typing import Any

from tracelift_ray.verification.sandbox.inside.confine import DOES_NOT_COMPILE

#: Exit codes of a program that ran out of memory, and of one whose output could not be written.
OUT_OF_MEMORY, OUTPUT_LOST = 86, 120
FILE = "program.py"

_NOT_COMPILED = (SyntaxError, ValueError, MemoryError, RecursionError, OverflowError)


def run_program(source: str, report: int, compiled: int) -> None:
    """Runs a whole program as ``__main__`` and ends the process with its exit code.

    Args:
        compiled: a file for the program's code, empty in the first run of a program: tests after it need not compile.
    """
    module = make_module("__main__")
    code = compile_program(source, report, compiled)
    finish(guarded(lambda: exec(code, module.__dict__)), module)


def make_module(name: str) -> ModuleType:
    """An empty module under ``name``, where classes and functions of the program find themselves."""
    module = ModuleType(name)
    module.__dict__.update(__builtins__=builtins, __file__=FILE)
    sys.modules[name] = module
    sys.argv[:] = [FILE]
    if "numpy.random" in sys.modules:  # Preloaded, so every program would draw the same numbers.
        sys.modules["numpy.random"].seed()
    return module


def compile_program(source: str, report: int, compiled: int | None = None) -> CodeType:
    """The program's code. Where it does not compile, that is reported and the process ends.

    Closes ``report`` and ``compiled``, so that the program has neither.
    """
    source = source.removeprefix("\ufeff")
    code = None if compiled is None else _code_in(compiled)
    if code is None:
        try:
            code = compile(source, FILE, "exec", dont_inherit=True)
        except _NOT_COMPILED as error:
            os.write(report, DOES_NOT_COMPILE)
            os.write(2, f"{type(error).__name__}: {error}\n".encode(errors="backslashreplace"))
            os._exit(1)
        if compiled is not None:
            _keep(code, compiled)
    os.close(report)
    if compiled is not None:
        os.close(compiled)
    linecache.cache[FILE] = (len(source), None, source.splitlines(keepends=True), FILE)
    return code


def _code_in(file: int) -> CodeType | None:
    """The code that an earlier run of the program left, before the program itself began; None where it left none."""
    size = os.lseek(file, 0, os.SEEK_END)
    try:
        return marshal.loads(os.pread(file, size, 0)) if size else None
    except (EOFError, ValueError, TypeError, MemoryError):  # That run ended while it wrote.
        return None


def _keep(code: CodeType, file: int) -> None:
    """Leave the code for the runs after this one; where there is no room for it, they compile again."""
    with contextlib.suppress(OSError, ValueError, MemoryError):
        os.pwrite(file, marshal.dumps(code), 0)


def open_streams() -> None:
    """Standard streams over descriptors 0, 1 and 2: UTF-8, and bytes that are none come and go unchanged.

    Made once, in the server: a program finds them with its descriptors behind them. On stdin, CR LF reads as LF.
    """
    stdin = io.BufferedReader(io.FileIO(0, "r", closefd=False))
    stdout = io.BufferedWriter(io.FileIO(1, "w", closefd=False))
    stderr = io.BufferedWriter(io.FileIO(2, "w", closefd=False))
    streams: tuple[Any, ...] = (
        io.TextIOWrapper(stdin, "utf-8", "surrogateescape"),
        io.TextIOWrapper(stdout, "utf-8", "surrogateescape", "\n"),
        io.TextIOWrapper(stderr, "utf-8", "backslashreplace", "\n", line_buffering=True),
    )
    for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=True):
        stream.mode = "r" if name == "stdin" else "w"  # Python sets it on these, and programs read it.
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def guarded(action: Callable[[], Any]) -> int:
    """Do something untrusted; the exit code that Python would end with."""
    try:
        action()
    except SystemExit as end:
        return _exit_code(end)
    except MemoryError:
        os.write(2, b"MemoryError\n")  # A traceback would need memory.
        return OUT_OF_MEMORY
    except BaseException as error:  # An error ends the program.
        _show(error)
        return 1
    return 0


def finish(code: int, module: ModuleType) -> None:
    """End the process as Python does: threads joined, exit functions, streams flushed, finalisers of globals, again."""
    _do(_await_threads, atexit._run_exitfuncs)
    code = _flush(code, sys.stdout, sys.stderr)
    # From here on a stream of the program's own may lack the globals that it uses.
    _do(module.__dict__.clear, gc.collect)
    os._exit(_flush(code, sys.__stdout__, sys.__stderr__))


def _do(*steps: Callable[[], Any]) -> None:
    for step in steps:
        try:
            step()
        except BaseException as error:  # These are the program's own; one that fails does not stop the next.
            _show(error)


def _flush(code: int, *streams: Any) -> int:
    """Flush open streams. The exit code: as given, or that of lost output."""
    for stream in streams:
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except BaseException:  # The stream may be full, or an object of the program's own.
            code = code or OUTPUT_LOST
    return code


def _await_threads() -> None:
    if "threading" in sys.modules:
        sys.modules["threading"]._shutdown()


def _exit_code(end: SystemExit) -> int:
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    try:
        print(end.code, file=sys.stderr)
    except BaseException:  # ``code`` is an object of the program's own.
        return 1
    return 1


def _show(error: BaseException) -> None:
    """The traceback, without the frames of this module."""
    try:
        if error.__traceback__ is not None and sys.excepthook is sys.__excepthook__:
            shown = error.__traceback__.tb_next.tb_next if error.__traceback__.tb_next else None
            traceback.print_exception(type(error), error, shown)
        else:
            sys.excepthook(type(error), error, error.__traceback__)
    except BaseException:  # The exception, the stream and the hook are the program's own.
        return
