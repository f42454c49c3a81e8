"""Lines of a terminal or a pipe, for a loop that Ctrl-C ends while nobody types; and text that a terminal may show."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from typing import BinaryIO


def own_stdin() -> BinaryIO:
    """Standard input apart from ``sys.stdin``, which Python aborts for at its end where a thread still reads it."""
    return open(sys.stdin.fileno(), "rb", closefd=False)


async def next_line(file: BinaryIO) -> str | None:
    """The next line, stripped; None where the input ends. Bytes that are no UTF-8 stay as lone surrogates.

    A thread of its own reads it, and nobody waits for that thread where this is cancelled.
    """
    loop = asyncio.get_running_loop()
    read: asyncio.Future[bytes] = loop.create_future()

    def wait() -> None:
        try:
            line = file.readline()
        except OSError:  # the terminal is gone
            line = b""
        with contextlib.suppress(RuntimeError):  # so is the loop
            loop.call_soon_threadsafe(settle, line)

    def settle(line: bytes) -> None:
        if not read.done():
            read.set_result(line)

    threading.Thread(target=wait, name="stdin", daemon=True).start()
    line = (await read).decode(errors="surrogateescape")
    return line.strip() if line else None


def harmless(text: str) -> str:
    """The text with its line breaks, and without anything else that a terminal would obey."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}" for letter in text
    )
