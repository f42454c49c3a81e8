"""Looks at a machine before a run does: ``tracelift doctor [address=http://HEAD:8265]``.

Python and packages, cores, memory, GPUs, shared memory, disk, sandbox, W&B, and a Ray cluster where one is given: a
line each, and what to do where something is not as it should be. Exit code 1 where a run would fail.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from launch.entry import FAILED, entry_point
from tracelift_ray.config.load import to_dataclass
from tracelift_ray.config.schema import SandboxConfig
from tracelift_ray.doctor import machine, packages
from tracelift_ray.doctor.findings import Finding, summary
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.planning.checks import check_sandbox
from tracelift_ray.planning.machine_memory import own_memory_gib
from tracelift_ray.planning.resources import visible_gpus
from tracelift_ray.tracking.alive import heartbeat
from tracelift_ray.verification.runners import RUNNERS


@dataclass(frozen=True)
class DoctorConfig:
    """What is looked at."""

    runs_root: str
    address: str | None
    sandbox: SandboxConfig


@entry_point("doctor")
def main(cfg: DictConfig) -> int:
    """Print what is found as it is found."""
    config = to_dataclass(DoctorConfig, cfg)
    check_sandbox(config.sandbox)
    findings = _looked(config)
    print(summary(findings))
    return FAILED if any(finding.level == "MEND" for finding in findings) else 0


def _looked(config: DoctorConfig) -> list[Finding]:
    """What is found, said as it is found."""
    findings = []
    with heartbeat(partial(print, flush=True), "looking at this machine") as beat:
        for finding in _findings(config, beat.doing):
            beat.say("\n".join(finding.lines()))
            findings.append(finding)
    return findings


def _findings(config: DoctorConfig, doing: Callable[[str], None]) -> Iterator[Finding]:
    """What can be told at once first, what has to be tried last; ``doing`` learns what may take long."""
    yield packages.check_python(sys.version_info[:3])
    yield from packages.check_packages(packages.pins(), packages.torch_cuda())
    yield machine.check_cores(machine.own_cores())
    yield machine.check_memory(own_memory_gib())
    doing("asking nvidia-smi")
    yield machine.check_gpus(visible_gpus(), machine.driver(), packages.torch_cuda())
    shm = shutil.disk_usage("/dev/shm")
    yield machine.check_shm(shm.total, shm.free)
    doing(f"writing to {config.runs_root}")
    yield machine.check_disk(Path(config.runs_root).expanduser().absolute())
    yield wandb_finding()
    doing("trying the sandbox")
    yield sandbox_finding(config.sandbox)
    if config.address:
        doing(f"reaching {config.address}")
        yield ray_finding(config.address)


def wandb_finding() -> Finding:
    """Where the numbers of a run would go; nothing is asked of the network."""
    from tracelift_ray.tracking.wandb_sink import resolve_mode

    mode, reason = resolve_mode("auto")
    if mode == "online":
        return Finding("W&B", "ok", f"online ({reason})")
    online = (
        "for live dashboards: wandb login, or WANDB_API_KEY in the environment; without, wandb sync sends them later"
    )
    return Finding("W&B", "ok", f"{mode} ({reason}); {online}")


def sandbox_finding(config: SandboxConfig) -> Finding:
    """The sandbox that programs of code problems would run in, tried."""
    if not RUNNERS[config.runner].local:
        return Finding("sandbox", "ok", f"programs run in a service ({config.runner}); a run tries it at its start")
    from tracelift_ray.verification.sandbox.probe import choose

    try:
        policy, reports = choose(config)
    except InfrastructureError as error:
        return Finding("sandbox", "MEND", error.cause, "math problems need none: see docs/security.md for the tiers")
    used = next(report for report in reports if report.holds)
    lacks = f"; lacks {'; '.join(used.lacks)}" if used.lacks else ""
    return Finding("sandbox", "ok", f"tier {policy.tier}{lacks}")


def ray_finding(address: str) -> Finding:
    """Whether a Ray cluster, or its job server, answers this client."""
    from actors.jobs import reached

    try:
        return Finding("Ray", "ok", reached(address))
    except InfrastructureError as error:
        return Finding("Ray", "MEND", error.cause, "check address, network and token (docs/on_a_cluster.md)")


if __name__ == "__main__":
    main()
