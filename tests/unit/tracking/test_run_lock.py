"""A run directory has one run at a time; the lock names its owner, and outlives none."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.hang import HANG_S
from tests.modes import modes_count
from tracelift_ray.processes import start_of, this_process
from tracelift_ray.tracking import alive
from tracelift_ray.tracking.run_dir import RunDirectoryError
from tracelift_ray.tracking.run_lock import FILE, only_run

HOLDER = """import sys, time
from pathlib import Path
from tracelift_ray.tracking.run_lock import only_run
with only_run(Path(sys.argv[1]), print):
    print("in", flush=True)
    time.sleep(600)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "in\n"
    return process


def test_a_second_run_is_refused_while_the_first_lives_and_takes_over_where_it_was_killed(tmp_path: Path) -> None:
    said: list[str] = []
    with holder(tmp_path) as first:
        try:
            owner = rf"another run is in .* \(process {first.pid} on "
            with pytest.raises(RunDirectoryError, match=owner), only_run(tmp_path, said.append):
                pass
            assert said == []
        finally:
            os.kill(first.pid, signal.SIGKILL)
            first.wait()
    with only_run(tmp_path, said.append):
        assert json.loads((tmp_path / FILE).read_text())["process"]["pid"] == os.getpid()
    (line,) = said
    assert f"took over from process {first.pid} on " in line


def test_a_run_that_ended_in_order_leaves_no_owner(tmp_path: Path) -> None:
    said: list[str] = []
    for _ in range(2):
        with only_run(tmp_path / "deep" / "run", said.append):
            pass
    assert said == [] and (tmp_path / "deep" / "run" / FILE).read_text() == ""


def test_a_lock_file_of_another_user_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / FILE).touch(mode=0o444)
    refused = pytest.raises(
        RunDirectoryError, match=rf"cannot write {tmp_path}/{FILE} \(Permission denied\), .* another"
    )
    with modes_count(), refused, only_run(tmp_path, print):
        pass


def without_locks(*_: object) -> None:
    raise OSError(37, "No locks available")


def left_by(folder: Path, **fields: Any) -> None:
    process = replace(this_process(), **fields)
    (folder / FILE).write_text(json.dumps({"process": process.described(), "since": "yesterday"}))


def test_where_the_file_system_has_no_locks_the_owners_process_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", without_locks)
    parent = os.getppid()
    left_by(tmp_path, pid=parent, started=start_of(parent))
    with pytest.raises(RunDirectoryError, match=f"process {parent}"), only_run(tmp_path, print):
        pass
    said: list[str] = []
    left_by(tmp_path, pid=parent, started=1)  # its number was given to another process since
    with only_run(tmp_path, said.append):
        pass
    assert len(said) == 1


def test_an_owner_elsewhere_is_in_there_while_it_touches_the_file(tmp_path: Path) -> None:
    said: list[str] = []
    left_by(tmp_path, host="another")
    with only_run(tmp_path, said.append, silent_s=0.05):
        pass
    assert [line.partition(": ")[2].partition(" ")[0] for line in said] == ["waiting", "took"]

    left_by(tmp_path, host="another")
    done = threading.Event()
    count = iter(range(1, 10**9))

    def touch() -> None:
        while not done.wait(0.01):
            os.utime(tmp_path / FILE, (next(count),) * 2)

    toucher = threading.Thread(target=touch)
    toucher.start()
    try:
        with pytest.raises(RunDirectoryError, match="on another"), only_run(tmp_path, print, silent_s=60.0):
            pass
    finally:
        done.set()
        toucher.join()


def test_who_waits_for_a_sign_of_an_owner_says_so_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left_by(tmp_path, host="another")
    monkeypatch.setattr(alive, "SILENT_S", 0.01)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if "a sign of process" in line and line.endswith(" so far"):
            os.utime(tmp_path / FILE, (1, 1))

    with pytest.raises(RunDirectoryError, match="on another"), only_run(tmp_path, say, silent_s=HANG_S):
        pass
