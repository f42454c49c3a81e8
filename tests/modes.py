"""File modes that count for root as well."""

from __future__ import annotations

import contextlib
import ctypes
import struct
from collections.abc import Iterator

_VERSION = 0x20080522
_SETS = struct.Struct("6I")  # effective, permitted, inheritable: the lower halves, then the upper ones


@contextlib.contextmanager
def modes_count() -> Iterator[None]:
    """Inside the ``with`` this thread has no capability, so that a mode without ``w`` stops root, too."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = ctypes.create_string_buffer(struct.pack("Ii", _VERSION, 0)), ctypes.create_string_buffer(_SETS.size)
    assert libc.capget(header, data) == 0
    _, permitted, inheritable, _, upper_permitted, upper_inheritable = _SETS.unpack(data.raw[: _SETS.size])
    none = _SETS.pack(0, permitted, inheritable, 0, upper_permitted, upper_inheritable)
    assert libc.capset(header, ctypes.create_string_buffer(none)) == 0
    try:
        yield
    finally:
        assert libc.capset(header, data) == 0
