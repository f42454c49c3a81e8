"""Typed lines: Ctrl-C ends at once, and what is shown cannot steer a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.hang import HANG_S
from tracelift_ray.chat.typed import harmless, next_line

READS = """
import asyncio
from tracelift_ray.chat.typed import next_line, own_stdin

async def main():
    lines = own_stdin()
    print(await next_line(lines), flush=True)
    await next_line(lines)

asyncio.run(main())
"""


async def test_lines_come_stripped_until_the_input_ends(tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes(b" one \n\ncaf\xe9\nlast")
    with (tmp_path / "lines").open("rb") as file:
        lines = [await next_line(file) for _ in range(5)]
    assert lines == ["one", "", "caf\udce9", "last", None]


def test_ctrl_c_ends_it_while_nobody_types() -> None:
    """In a terminal, whose reading no signal interrupts."""
    terminal, own = os.openpty()
    process = subprocess.Popen([sys.executable, "-c", READS], stdin=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    os.close(own)
    try:
        os.write(terminal, b"typed\n")
        assert process.stdout is not None and process.stdout.readline() == b"typed\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=HANG_S)
    finally:
        process.kill()
        os.close(terminal)
    assert process.returncode == -signal.SIGINT and errors.rstrip().endswith(b"KeyboardInterrupt")


def test_text_is_shown_with_its_lines_and_without_what_steers_a_terminal() -> None:
    assert harmless("a\n\tb \x1b[2J\x9b31m\x07\rc ± ∑") == "a\n\tb \ufffd[2J\ufffd31m\ufffd\ufffdc ± ∑"
