"""Whether a program that ran out of time was slow itself, or kept waiting for a core by others.

The kernel counts, for each thread, the time that it was ready to run and did not (``schedstat``). A program can make
threads that wait for one another, so time that is explained by what its own threads used is not counted: no program
can make a time limit into a missing verdict by keeping itself busy.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tracelift_ray.verification.sandbox.inside.run import process_clock

#: A program was starved where it waited for a core during more than this part of its time.
STARVED_SHARE = 0.5
_NANO = 1e-9


@dataclass(frozen=True)
class ThreadTimes:
    """Seconds that a thread ran, and that it was ready to run and waited."""

    ran_s: float
    waited_s: float


def is_measured() -> bool:
    """Whether this kernel counts waiting times. Where it does not, every time limit is the program's."""
    return Path("/proc/self/schedstat").exists()


def was_starved(processes: Sequence[int], elapsed_s: float) -> bool:
    """Looks at the running processes behind process descriptors, and closes these.

    Times that cannot be read although the kernel counts them mean yes: then nobody knows what kept the program.
    """
    try:
        if not is_measured():
            return False
        pids = [host_pid(process) for process in processes]
        threads = [times for pid in pids for times in _threads(pid)]
        used_s = sum(_used_seconds(pid) for pid in pids)
    except (OSError, ValueError):
        return True
    finally:
        for process in processes:
            os.close(process)
    return starved(threads, used_s, elapsed_s)


def starved(threads: Sequence[ThreadTimes], used_s: float, elapsed_s: float) -> bool:
    """Whether a thread waited for more than ``STARVED_SHARE`` of the time, without what its own program ran in it.

    Args:
        threads: the threads that there are now.
        used_s: CPU seconds that the program used, with threads that have ended.
        elapsed_s: seconds since it started.
    """
    kept = (each.waited_s - (used_s - each.ran_s) for each in threads)
    return max(kept, default=0.0) > STARVED_SHARE * elapsed_s


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
