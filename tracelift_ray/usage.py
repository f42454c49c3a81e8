"""What a process and the machine under it use now: CPU and memory, read from the operating system, and its GPUs."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from time import monotonic

import psutil

from tracelift_ray.gpu_usage import GpuMeter

MIB = 2**20
#: Of a node's id, as the plan of a run shows them.
ID_CHARACTERS = 6
#: What several readings say of a figure: the fullest of what can be full, the sum of what is counted; else the mean.
_OF_SEVERAL: Mapping[str, Callable[[list[float]], float]] = {
    "gpu_memory_percent": max,
    "kv_cache_percent": max,
    "preemptions": sum,
}


@dataclass(frozen=True)
class Usage:
    """Usage of one process, and of its machine; CPU since the reading before.

    Attributes:
        node: the machine's name.
        cpu_cores: cores kept busy, 1.0 for one.
        rss_mib: memory in RAM; pages that processes share count in each.
        node_cpu_percent: of all cores, 0 to 100.
        node_memory_percent: 0 to 100, of what cannot be given to others.
        figures: use of its GPUs, and what the process says of its own work, by name.
        node_id: tells machines of the same name apart, such as containers; empty: nobody knows.
    """

    node: str
    cpu_cores: float
    rss_mib: float
    node_cpu_percent: float
    node_memory_percent: float
    figures: Mapping[str, float] = field(default_factory=dict)
    node_id: str = ""


class UsageMeter:
    """Reads this process, and where ``children`` those that it started (of an engine, of a sandbox) with it."""

    def __init__(self, children: bool = True) -> None:
        self._process = psutil.Process()
        self._children = children
        self._read_at = monotonic()
        self._cpu_s, _ = self._sums()
        self._gpus = GpuMeter()
        psutil.cpu_percent()

    def read(self, figures: Mapping[str, float] | None = None) -> Usage:
        """Usage since the last reading, or since this object was made."""
        now, (cpu_s, rss) = monotonic(), self._sums()
        seconds, used_s = now - self._read_at, max(0.0, cpu_s - self._cpu_s)
        self._read_at, self._cpu_s = now, cpu_s
        return Usage(
            platform.node(),
            used_s / seconds if seconds > 0 else 0.0,
            rss / MIB,
            psutil.cpu_percent(),
            psutil.virtual_memory().percent,
            {**self._gpus.read(), **(figures or {})},
        )

    def _sums(self) -> tuple[float, int]:
        """CPU seconds so far, children that ended included, and bytes in RAM."""
        cpu_s, rss = 0.0, 0
        for process in (self._process, *(self._process.children(recursive=True) if self._children else ())):
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    rss += process.memory_info().rss
            except psutil.Error:  # it ended meanwhile, or is another user's
                continue
            cpu_s += sum(times[:4])  # user, system, and both of the children that it waited for
        return cpu_s, rss


def joined(readings: Sequence[Usage]) -> Usage:
    """One usage of several readings of a process, in their order: memory at its fullest, CPU on average."""
    figures: dict[str, list[float]] = {}
    for reading in readings:
        for name, value in reading.figures.items():
            figures.setdefault(name, []).append(value)
    return replace(
        readings[-1],
        cpu_cores=fmean(reading.cpu_cores for reading in readings),
        rss_mib=max(reading.rss_mib for reading in readings),
        node_cpu_percent=fmean(reading.node_cpu_percent for reading in readings),
        node_memory_percent=max(reading.node_memory_percent for reading in readings),
        figures={name: _OF_SEVERAL.get(name, fmean)(values) for name, values in figures.items()},
    )


def usage_metrics(found: Mapping[str, Usage]) -> dict[str, float]:
    """Flat metrics of processes by their names: ``processes/NAME/…``, and ``nodes/NAME/…`` of their machines.

    A machine's name is followed by the beginning of its id, ``NAME_abcdef``, where others have the same name.
    """
    metrics: dict[str, float] = {}
    ids: dict[str, set[str]] = {}
    for usage in found.values():
        ids.setdefault(usage.node, set()).add(usage.node_id)
    for name, usage in found.items():
        node = usage.node.replace(".", "_")
        if len(ids[usage.node]) > 1:
            node += f"_{usage.node_id[:ID_CHARACTERS]}"
        metrics |= {
            f"processes/{name}/cpu_cores": usage.cpu_cores,
            f"processes/{name}/rss_mib": usage.rss_mib,
            **{f"processes/{name}/{figure}": value for figure, value in usage.figures.items()},
            f"nodes/{node}/cpu_percent": usage.node_cpu_percent,
            f"nodes/{node}/memory_percent": usage.node_memory_percent,
        }
    return metrics
