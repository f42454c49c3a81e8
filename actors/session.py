"""What a Ray of the run's own leaves on this machine: processes, and temporary files in a folder that names its owner.

All processes that start under it carry the folder's name in their environment, and keep their temporary files in it.
Where the owner was killed, Ray ends most of them by itself; the next start of any run ends the rest and removes the
folder. Ray's logs stay where they are.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tracelift_ray.processes import Process, this_process

#: In the environment of every process of a session: the path of its folder.
VARIABLE = "TRACELIFT_SESSION"
_PREFIX, _OWNER = "tracelift-session-", "owner.json"


@contextlib.contextmanager
def own_session() -> Iterator[None]:
    """Inside the ``with`` new processes belong to a session of this process; its folder goes in the end."""
    remove_dead()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    folder.chmod(0o755)  # programs of the sandbox pass through it as another user
    (folder / _OWNER).write_text(json.dumps(this_process().described()))
    os.environ[VARIABLE] = str(folder)
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        shutil.rmtree(folder, ignore_errors=True)


def temporary_files() -> dict[str, str]:
    """The environment in which an actor keeps its temporary files in the folder; empty on a cluster that was joined."""
    return {"TMPDIR": os.environ[VARIABLE]} if VARIABLE in os.environ else {}


def remove_dead() -> None:
    """End the processes, and remove the folders, of sessions whose owner is gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, ValueError, TypeError):  # another user's, or one that is being made
            owner = Process(**json.loads((folder / _OWNER).read_text()))
            if not owner.lives():
                for pid in _belonging(folder):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                shutil.rmtree(folder)


def _belonging(folder: Path) -> list[int]:
    """The processes of this user that carry the name of a session's folder."""
    mark, found = f"{VARIABLE}={folder}\0".encode(), []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in environment.read_bytes() + b"\0":
                found.append(int(environment.parent.name))
    return found
