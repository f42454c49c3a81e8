"""Processes that a test started, found by a marker in their environment."""

from __future__ import annotations

from pathlib import Path


def marked(marker: str) -> dict[int, str]:
    """Command lines, by process id, of the processes whose environment holds ``marker``."""
    found = {}
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if marker.encode() in environ.read_bytes():
                line = (environ.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if line:  # not one that has ended and waits for its parent
                    found[int(environ.parent.name)] = line
        except OSError:
            continue
    return found
