"""The upload command: a shell command of the user's that gets the path of every finished save, beside training.

Promises: one command at a time, in the order of the saves; a command that fails or is late is one line and one count,
never an error; one that is late or given up on is killed with all that it started.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import Callable
from pathlib import Path

#: The environment variable with the path of the save.
PATH_VARIABLE = "TRACELIFT_SAVED"
#: Seconds in which a killed command is gone.
KILL_S = 10.0


class Uploads:
    """Runs ``command`` for each save; nothing where it is empty.

    Attributes:
        command: for ``/bin/sh``.
        deadline_s: seconds for one save; its processes are killed after that.
        faults: ``upload`` counts the commands that failed.
        say: is given the line about a failure.
    """

    def __init__(self, command: str, deadline_s: float, faults: Counter[str], say: Callable[[str], None]) -> None:
        self.command = command
        self.deadline_s = deadline_s
        self.faults = faults
        self.say = say
        self._one_at_a_time = asyncio.Lock()
        self._running: dict[Path, asyncio.Task[None]] = {}

    @property
    def in_use(self) -> frozenset[Path]:
        """Saves whose command is waiting or running, so that they must stay."""
        return frozenset(self._running)

    def start(self, path: Path) -> None:
        """Run the command for ``path`` as soon as those before it have ended."""
        if self.command:
            self._running[path] = asyncio.create_task(self._upload(path), name=f"upload-{path.name}")

    async def finish(self) -> None:
        """Wait for all commands; where this is cancelled they are killed."""
        tasks = list(self._running.values())
        if tasks:
            self.say(f"waiting for the upload of {len(tasks)} saves, each for {self.deadline_s:g} s at most")
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _upload(self, path: Path) -> None:
        try:
            async with self._one_at_a_time:
                failure = await self._run(path)
        except OSError as error:
            failure = f"could not be started: {error}"
        finally:
            del self._running[path]
        if failure is not None:
            self.faults["upload"] += 1
            self.say(f"the upload command for {path} {failure}")

    async def _run(self, path: Path) -> str | None:
        """Run the command; what went wrong, or None."""
        process = await asyncio.create_subprocess_shell(
            self.command,
            env=os.environ | {PATH_VARIABLE: str(path)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(self.deadline_s):
                _, errors = await process.communicate()
        except TimeoutError:
            await _kill(process)
            return f"did not end in {self.deadline_s:g} s and was killed"
        except asyncio.CancelledError:
            await _kill(process)
            raise
        if not process.returncode:
            return None
        lines = errors.decode(errors="replace").strip().splitlines()
        return f"failed with exit code {process.returncode}: {lines[-1] if lines else 'it said nothing'}"


async def _kill(process: Process) -> None:
    """End the command and what it has started."""
    with contextlib.suppress(ProcessLookupError):  # all of them have ended
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):  # what left the group of processes may hold its pipe for ever
        await asyncio.wait_for(process.communicate(), KILL_S)
