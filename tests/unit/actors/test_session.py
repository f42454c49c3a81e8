"""What a killed run leaves of its Ray is ended and removed by the next start; what lives is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from actors.session import VARIABLE, own_session, remove_dead, temporary_files
from tests.hang import HANG_S
from tracelift_ray.processes import start_of

OWNER = """import subprocess, sys, time
from actors.session import own_session
with own_session():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    print(child.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_a_session_that_ends_in_order_leaves_no_folder(temporary: Path) -> None:
    with own_session():
        (folder,) = temporary.iterdir()
        assert temporary_files() == {"TMPDIR": str(folder)} and os.environ[VARIABLE] == str(folder)
        remove_dead()
        assert folder.exists()
    assert temporary_files() == {} and list(temporary.iterdir()) == []


def test_what_a_killed_owner_left_is_ended_and_removed(temporary: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        orphan = int(owner.stdout.readline())
        remove_dead()
        os.kill(orphan, 0)
        owner.send_signal(signal.SIGKILL)
    assert len(list(temporary.iterdir())) == 1
    remove_dead()
    assert list(temporary.iterdir()) == []
    ends = time.monotonic() + HANG_S
    while start_of(orphan) is not None:
        assert time.monotonic() < ends
        time.sleep(0.02)
