"""The standard library in memory, for programs whose user may not enter the folder that it is in.

Where root's own Python runs programs under a separate user id, that user can often not read it: its folder is in
root's home. The fork server then reads all modules at its start, and imports those that are no Python source; programs
import the rest from memory.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.util
import mmap
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from types import ModuleType

#: Folders and modules that no program has a use for: tests, installers, and what needs a screen or a terminal.
_LEFT_OUT = {"test", "tests", "idlelib", "idle_test", "turtledemo", "tkinter", "ensurepip", "lib2to3", "distutils",
             "pydoc_data", "site-packages", "dist-packages", "__pycache__", "lib-dynload"}  # fmt: skip
#: Extension modules that are left out: those and what needs devices or other users, and two that come with many modules
#: of Python source and stand in for such a module only to be faster. Each one makes every fork slower.
_NOT_PRELOADED = (
    "_test", "_ctypes_test", "xx", "_xx", "_tkinter", "_curses", "readline", "_dbm", "_gdbm", "_asyncio", "_zoneinfo",
    "_crypt", "audioop", "nis", "ossaudiodev", "spwd", "syslog",
)  # fmt: skip


class MemoryLibrary(importlib.abc.InspectLoader, importlib.abc.MetaPathFinder):
    """Finds and loads the modules whose source was in ``folder`` when this was made. Raises OSError."""

    def __init__(self, folder: str) -> None:
        #: By name: the file, and where in the text its source is.
        self._sources: dict[str, tuple[str, slice]] = {}
        # Mapped from a file and never written to: the kernel does not go through such memory at every fork.
        with open(os.memfd_create("library"), "w+b") as text:
            for path in _python_files(folder):
                name = os.path.relpath(path, folder).removesuffix(".py").replace("/", ".")
                start = text.tell()
                with open(path, "rb") as file:
                    text.write(file.read())
                self._sources[name] = path, slice(start, text.tell())
            text.flush()
            self._text = mmap.mmap(text.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ) if self._sources else b""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's description, or None where it was not in the folder."""
        for name, is_package in ((fullname, False), (f"{fullname}.__init__", True)):
            if name in self._sources:
                origin = self._sources[name][0]
                spec = ModuleSpec(fullname, self, origin=origin, is_package=is_package)
                spec.has_location = True
                return spec
        return None

    def get_source(self, fullname: str) -> str:
        """The module's source. Raises ImportError where it was not in the folder."""
        return importlib.util.decode_source(self._text[self._found(fullname)[1]])

    def get_filename(self, fullname: str) -> str:
        """Where the source was read from; tracebacks show it."""
        return self._found(fullname)[0]

    def is_package(self, fullname: str) -> bool:
        """Whether the module is a package."""
        return f"{fullname}.__init__" in self._sources

    def _found(self, fullname: str) -> tuple[str, slice]:
        for name in (fullname, f"{fullname}.__init__"):
            if name in self._sources:
                return self._sources[name]
        raise ImportError(f"no module named {fullname!r}", name=fullname)


def provide(folders: Sequence[str]) -> None:
    """Have all modules of these folders in memory, and those that are no Python source imported."""
    for folder in folders:
        if os.path.isdir(folder):
            sys.meta_path.append(MemoryLibrary(folder))
            for name in _extensions(folder):
                with contextlib.suppress(ImportError):  # its system library may be missing, as it may be anywhere
                    importlib.import_module(name)


def _python_files(folder: str) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _LEFT_OUT and "-" not in name]
        yield from (f"{parent}/{name}" for name in files if name.endswith(".py"))


def _extensions(folder: str) -> Iterator[str]:
    for file in sorted(os.listdir(folder)):
        suffix = next((each for each in EXTENSION_SUFFIXES if file.endswith(each)), None)
        name = file.removesuffix(suffix) if suffix else ""
        if name and not name.startswith(_NOT_PRELOADED):
            yield name
