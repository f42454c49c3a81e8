"""What signals ask of a run, and whether what started it leaves it time to answer.

SIGINT (Ctrl-C) and SIGTERM end it in order, and the next one ends the process as usual. SIGUSR1 asks for a checkpoint
now; the run goes on. A run that prepares ends once a Ray that is starting can be taken down, and one whose actors start
takes them down.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping

from tracelift_ray.rl.requests import Requests

ENDING = (signal.SIGINT, signal.SIGTERM)
#: Set for the command of a Ray job.
_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
#: Seconds that Ray leaves a job which is stopped, and what it takes without it.
GRACE, _GRACE_S = "RAY_JOB_STOP_WAIT_TIME_S", 3
#: Less is said at the start of a run: a micro-batch, a checkpoint and the end of all actors may take longer.
ENOUGH_S = 60


class Signals:
    """Who hears of signals: until ``hear`` nobody, so that they interrupt as Ctrl-C does; then the task that made this,
    which is cancelled; after ``serve`` a training loop."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._stop: Callable[[], object] = task.cancel
        self._save: Callable[[], object] = lambda: None

        self._loop = asyncio.get_running_loop()
        self._asked = False

    def serve(self, requests: Requests) -> None:
        """Pass on what is asked."""
        self._stop, self._save = requests.stop, requests.save

    def hear(self) -> None:
        """Take the signals, also from a library that took them meanwhile, as Ray's core does when it starts."""
        running = asyncio.get_running_loop()
        running.add_signal_handler(signal.SIGUSR1, lambda: self._save())
        for each in () if self._asked else ENDING:
            running.add_signal_handler(each, self._ended)

    def leave(self) -> None:
        """Leave the signals to the process."""
        for each in (*ENDING, signal.SIGUSR1):
            asyncio.get_running_loop().remove_signal_handler(each)
            signal.signal(each, signal.default_int_handler if each is signal.SIGINT else signal.SIG_DFL)

    def stop_soon(self) -> None:
        """As SIGTERM, from another thread."""
        self._loop.call_soon_threadsafe(lambda: self._stop())

    def _ended(self) -> None:
        """SIGINT or SIGTERM came; the next one is no longer ours."""
        self._asked = True
        for each in ENDING:
            asyncio.get_running_loop().remove_signal_handler(each)
        signal.alarm(0)  # where Ray's core heard it first, it would end the process three seconds later
        self._stop()


@contextlib.contextmanager
def heeding_signals() -> Iterator[Signals]:
    """Inside the ``with`` signals interrupt; after ``hear`` the running event loop hears of them."""
    signals = Signals()
    for each in ENDING:
        signal.signal(each, signal.default_int_handler)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        yield signals
    finally:
        signals.leave()


def short_grace(environment: Mapping[str, str]) -> str | None:
    """What a person should know of the time that ``ray job stop`` leaves this run; None where it suffices."""
    given = environment.get(GRACE, "")
    seconds = int(given) if given.isdecimal() else _GRACE_S
    if _JOB not in environment or seconds >= ENOUGH_S:
        return None
    return (
        f"`ray job stop` kills this run after {seconds} s ({GRACE} is {given or 'not set'}), which may not do for a "
        f"checkpoint: set {GRACE}=300 in env_vars of the job's runtime environment, as launch/specs/ray_job.yaml does"
    )
