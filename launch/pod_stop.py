"""What a pod of a run on Kubernetes does before it ends, as its preStop hook: end the run in order, wait until it has.

Kubernetes starts the grace period of a pod with this hook and sends SIGTERM to Ray only after it. The run's command,
which is in the head's pod, is asked to end where it has not been asked yet, as KubeRay does when the job is deleted.
Pods of the actors wait until these are gone, since the run saves the learner through them.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

_COMMAND = "launch.train"
#: What Ray calls the processes of the classes in actors/.
_ACTOR = re.compile(r"ray::\w+Actor\b")


def end_run(processes: Callable[[], Iterable[psutil.Process]] = psutil.process_iter, every_s: float = 1.0) -> None:
    """Ask the commands among ``processes`` to end and return when neither they nor actors are left."""
    for process in _of_the_run(processes()):
        if _COMMAND in _words(process) and _hears(process, signal.SIGTERM):
            process.terminate()
    while _of_the_run(processes()):
        time.sleep(every_s)


def _of_the_run(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    return [each for each in processes if (words := _words(each)) and (_COMMAND in words or _ACTOR.match(words[0]))]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline() if process.status() != psutil.STATUS_ZOMBIE else []
    except psutil.Error:  # it ended meanwhile
        return []


def _hears(process: psutil.Process, number: int) -> bool:
    """False once a run has been asked to end: it leaves the next signal to the system, which would end it at once."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return False
    (caught,) = re.findall(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)
    return bool(int(caught, 16) >> (number - 1) & 1)


def main() -> None:
    if "KUBERNETES_SERVICE_HOST" not in os.environ:
        sys.exit("error: this ends every run that it finds; it is for pods of Kubernetes alone")
    end_run()


if __name__ == "__main__":
    main()
