"""SIGTERM ends every command as Ctrl-C does: what is open is closed, and the exit code is 130."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import indent

import pytest

from launch.conf_files import CONFIG_DIR
from tests.hang import HANG_S

SCRIPT = """
import asyncio, signal, time

from launch.entry import entry_point
from tracelift_ray.training.ranks import run_ranks


async def waiting():
    try:
        print("waits", flush=True)
        await asyncio.sleep({hang_s})
    except asyncio.CancelledError:
        print("cancelled", flush=True)
        raise


def rank(place):
    if place.rank == 0:
        print("waits", flush=True)
    time.sleep({hang_s})


@entry_point("merge")
def main(cfg):
    try:
{body}
    finally:
        print("closed", flush=True)


if __name__ == "__main__":
    main()
"""
SLEEPING = f"print('waits', flush=True)\ntime.sleep({HANG_S})"


@pytest.mark.parametrize(
    ("body", "closed"),
    [
        (SLEEPING, ["closed"]),
        (f"signal.signal(signal.SIGINT, signal.SIG_IGN)\n{SLEEPING}", ["closed"]),
        ("asyncio.run(waiting())", ["cancelled", "closed"]),
        ("run_ranks(2, rank)", ["closed"]),
    ],
    ids=["waiting", "in the background of a script", "in an event loop", "in other processes"],
)
def test_sigterm_ends_a_command_in_order(body: str, closed: list[str], tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(hang_s=HANG_S, body=indent(body, " " * 8)))
    command = subprocess.Popen(
        [sys.executable, str(script), "base=a", "adapter=b", "out=c"],
        env=os.environ | {"PYTHONPATH": str(CONFIG_DIR.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert command.stdout is not None
    with command:
        began = command.stdout.readline()
        command.send_signal(signal.SIGTERM)
        stdout, stderr = command.communicate(timeout=HANG_S)
    assert (began, command.returncode, stdout.splitlines(), stderr) == ("waits\n", 130, closed, "interrupted\n")
