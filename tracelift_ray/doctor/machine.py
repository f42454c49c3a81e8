"""The machine: cores, memory, GPUs with their driver, shared memory, and the disk of the runs.

Each check takes what was measured, so that it can be tried on machines that are not at hand.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tracelift_ray.config.paths import probe_directory
from tracelift_ray.doctor.findings import Finding, Level

GIB = 2**30
_ANSWER_S = 20.0
#: With less, the quickstart gets tight: the engine of its planner alone takes 3.
MEMORY_GIB = 8.0
#: Ray's object store, and one copy of the weights of a small model.
SHM_GIB = 1.0
#: A checkpoint of the quickstart and its trajectories take less; one of a 7 B model with its optimizer 100 GiB.
DISK_GIB = 5.0


@dataclass(frozen=True)
class Driver:
    """What NVIDIA's tool says: GPUs, and the newest CUDA that the driver can run."""

    gpus: tuple[str, ...]
    cuda: str | None


def driver(command: str = "nvidia-smi") -> Driver | None:
    """The NVIDIA driver of this machine; None where there is none."""
    try:
        banner, listed = (
            subprocess.run([command, *each], capture_output=True, text=True, timeout=_ANSWER_S, check=True).stdout
            for each in ((), ("--query-gpu=name,memory.total", "--format=csv,noheader"))
        )
    except (OSError, subprocess.SubprocessError):
        return None
    cuda = re.search(r"CUDA[\w ]*Version:\s*([\d.]+)", banner)
    return Driver(tuple(line.strip() for line in listed.splitlines() if line.strip()), cuda and cuda[1])


def check_cores(cores: int) -> Finding:
    """The cores that this process may use."""
    if cores >= 2:
        return Finding("cores", "ok", str(cores))
    return Finding("cores", "look", str(cores), "the quickstart is made for two; here its pools wait for each other")


def check_memory(gib: float) -> Finding:
    """The memory of this machine or container."""
    found = f"{gib:.1f} GiB"
    if gib >= MEMORY_GIB:
        return Finding("memory", "ok", found)
    remedy = f"{MEMORY_GIB:g} GiB are comfortable for the quickstart; dry_run=true shows what a run's workers hold"
    return Finding("memory", "look", found, remedy)


def check_gpus(devices: int | None, found: Driver | None, torch_cuda: str | None) -> Finding:
    """GPUs: that the driver answers, and that torch is a build that it can run.

    Args:
        devices: GPUs by their device files; None where that cannot be told.
        found: what the driver says; None where it does not answer.
        torch_cuda: the CUDA version of torch; None for a CPU build.
    """
    if found is None:
        if devices:
            remedy = "install NVIDIA's driver; in a container, its container toolkit, and start it with --gpus all"
            return Finding("GPUs", "MEND", f"{devices} device files, but nvidia-smi does not answer", remedy)
        if torch_cuda:
            remedy = "use a machine with GPUs, or make setup DEVICE=cpu"
            return Finding("GPUs", "look", f"none, and torch is built for CUDA {torch_cuda}", remedy)
        return Finding("GPUs", "ok", "none; runs use the CPUs")
    text = f"{len(found.gpus)}: {', '.join(sorted(set(found.gpus)))}; driver for CUDA {found.cuda or 'unknown'}"
    if torch_cuda is None:
        return Finding("GPUs", "look", f"{text}; torch is a CPU build", "make setup DEVICE=gpu to use them")
    if found.cuda and int(found.cuda.split(".")[0]) < int(torch_cuda.split(".")[0]):
        remedy = f"update the driver to one for CUDA {torch_cuda} or newer"
        return Finding("GPUs", "MEND", f"{text}, too old for torch's CUDA {torch_cuda}", remedy)
    return Finding("GPUs", "ok", text)


def check_shm(total: int, free: int) -> Finding:
    """Shared memory, in bytes: Ray's object store and the weights on their way to the engines lie there."""
    found = f"{free / GIB:.2f} GiB free of {total / GIB:.2f}"
    if free >= SHM_GIB * GIB:
        return Finding("/dev/shm", "ok", found)
    remedy = (
        "a container gets more with docker run --shm-size=16g, on Kubernetes with an emptyDir of medium Memory at "
        "/dev/shm (as in launch/specs/kuberay_rayjob.yaml); what an ended Ray left there can be removed"
    )
    return Finding("/dev/shm", "MEND" if total < SHM_GIB * GIB else "look", found, remedy)


def check_disk(runs: Path) -> Finding:
    """Where runs are kept: that it can be written, and how much room there is."""
    other = "free some, or give runs_root=DIR (or TRACELIFT_RUNS) elsewhere"
    try:
        free = shutil.disk_usage(probe_directory(runs)).free
    except OSError as error:
        found = f"{runs} cannot be written ({error.filename}: {error.strerror})"
        return Finding("disk", "MEND", found, "give runs_root=DIR (or TRACELIFT_RUNS) that this user can write")
    return disk_finding(runs, free, other)


def disk_finding(runs: Path, free: int, remedy: str) -> Finding:
    """Room for runs, in bytes."""
    found = f"{free / GIB:.1f} GiB free for {runs}"
    level: Level = "ok" if free >= DISK_GIB * GIB else "MEND" if free < GIB / 2 else "look"
    return Finding("disk", level, found, "" if level == "ok" else remedy)


def own_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))
