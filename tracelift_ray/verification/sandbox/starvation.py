"""How long other processes kept a program from running; its wall limit is extended by that time.

The kernel counts, for each thread, the time that it was ready to run and did not (``schedstat``). A program can make
threads that wait for one another, so time that is explained by what its own threads used is not counted: no program
gets longer, or out of a verdict, by keeping itself busy.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tracelift_ray.verification.sandbox.inside.run import process_clock

#: A test that took so many times its wall limit because it was kept waiting has no verdict.
MOST_TIMES_WALL = 5.0
#: Waiting below this part of the wall limit, in all, does not extend the limit.
LEAST_SHARE = 0.05
_NANO = 1e-9


@dataclass(frozen=True)
class ThreadTimes:
    """Seconds that a thread ran, and that it was ready to run and waited."""

    ran_s: float
    waited_s: float


@dataclass(frozen=True)
class Extension:
    """What to do at the wall limit: extend it by ``seconds``; at 0 end, ``starved`` where the machine was too busy."""

    seconds: float = 0.0
    starved: bool = False


class WallClock:
    """The wall limit of one run, which may have several tests one after another, each with the same limit."""

    def __init__(self, wall_s: float) -> None:
        self._wall_s = wall_s
        self._extended_s = 0.0
        self._test_began = time.monotonic()

    def next_test(self) -> None:
        """A test has ended."""
        self._test_began = time.monotonic()

    def extension(self, kept_s: float) -> Extension:
        """What to do at the limit. ``kept_s``: seconds that others have kept the run waiting since it began."""
        due = kept_s - self._extended_s
        if due < LEAST_SHARE * self._wall_s:
            return Extension()
        if math.isinf(kept_s) or time.monotonic() - self._test_began > MOST_TIMES_WALL * self._wall_s:
            return Extension(starved=True)
        self._extended_s += due
        return Extension(seconds=due)


def is_measured() -> bool:
    """Whether this kernel counts waiting times. Where it does not, every time limit is the program's."""
    return Path("/proc/self/schedstat").exists()


def kept_waiting(processes: Sequence[int]) -> float:
    """Seconds that others have kept the processes behind these descriptors waiting; closes the descriptors.

    Infinite where it cannot be read although the kernel counts it: then the cause is unknown.
    """
    try:
        if not is_measured():
            return 0.0
        pids = [host_pid(process) for process in processes]
        threads = [times for pid in pids for times in _threads(pid)]
        return waited_for_others(threads, sum(_used_seconds(pid) for pid in pids))
    except (OSError, ValueError):
        return math.inf
    finally:
        for process in processes:
            os.close(process)


def waited_for_others(threads: Sequence[ThreadTimes], used_s: float) -> float:
    """The longest that a thread waited, without what the other threads of its program ran meanwhile.

    Args:
        threads: the threads that there are now.
        used_s: CPU seconds that the program used, with threads that have ended.
    """
    return max((each.waited_s - (used_s - each.ran_s) for each in threads), default=0.0)


def host_pid(process: int) -> int | None:
    """The id, as this process sees it, of the process behind a process descriptor; None where it is gone."""
    with open(f"/proc/self/fdinfo/{process}") as file:
        for line in file:
            if line.startswith("Pid:"):
                pid = int(line.split()[1])
                return pid if pid > 0 else None
    return None


def _threads(pid: int | None) -> list[ThreadTimes]:
    """All threads of a process; one that ends meanwhile is left out, but the first is there as long as the process."""
    times = []
    for name in os.listdir(f"/proc/{pid}/task"):
        try:
            ran, waited, _ = Path(f"/proc/{pid}/task/{name}/schedstat").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            if name == str(pid):
                raise
            continue
        times.append(ThreadTimes(int(ran) * _NANO, int(waited) * _NANO))
    return times


def _used_seconds(pid: int | None) -> float:
    if pid is None:
        raise ProcessLookupError("a program ended before it was looked at")
    return time.clock_gettime(process_clock(pid))
