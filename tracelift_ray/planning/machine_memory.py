"""How much memory machines have: this one, and GPUs by the name of their kind. What is not known is None."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

from tracelift_ray.planning.resources import ClusterResources, resources_of

_GIB = 2**30
_ANSWER_S = 10.0
#: GiB by the kind of accelerator that Ray names; kinds that exist in several sizes are left out.
ACCELERATORS = {
    "T4": 15.0,
    "L4": 22.5,
    "A10G": 22.5,
    "L40S": 44.9,
    "A100-40G": 39.5,
    "A100-80G": 79.2,
    "H100": 79.6,
    "H200": 139.8,
}


def with_own_memory(resources: ClusterResources) -> ClusterResources:
    """The resources of this machine with its memory and that of its GPUs."""
    gpu = own_gpu_gib() if any(node.gpus for node in resources.machines) else None
    nodes = (replace(node, memory_gib=own_memory_gib(), gpu_memory_gib=gpu) for node in resources.machines)
    return resources_of(list(nodes)) if resources.machines else resources


def own_memory_gib(limit: Path = Path("/sys/fs/cgroup/memory.max")) -> float:
    """The memory of this machine, or of the container where that is less."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        allowed = int(limit.read_text())
    except (OSError, ValueError):  # no such file, or "max"
        allowed = installed
    return min(installed, allowed) / _GIB


def own_gpu_gib(command: str = "nvidia-smi") -> float | None:
    """The memory of this machine's smallest GPU, as its driver's tool says."""
    asked = [command, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, timeout=_ANSWER_S, check=True).stdout
        return min(float(line) for line in said.split()) / 1024
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
