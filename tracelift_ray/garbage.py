"""How often Python collects garbage. What is imported and built stays, and every collection walks over all of it."""

from __future__ import annotations

import atexit
import contextlib
import gc
from collections.abc import Iterator

#: New objects that set off a collection.
YOUNG = 10_000


def collect_rarely() -> None:
    """For a process that begins: as few collections as its imports allow."""
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Import and build inside the ``with`` without collections; later ones leave alone what is there then."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def held_off() -> Iterator[None]:
    """Compute inside the ``with`` without collections, where what is used no more dies without one."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def settle() -> None:
    """For a driver that has built what it is made of: collections leave this alone from then on.

    A driver that carries many calls makes enough objects for collections to take half of its time.
    """
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # libraries call what is then still frozen a leak
    collect_rarely()
