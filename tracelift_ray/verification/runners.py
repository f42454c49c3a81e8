"""The table of code runners, and the one factory. Nothing outside ``verification/`` compares or names a runner.

A new runner is a module that implements ``CodeRunner``, and a line in the table. Light to import.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracelift_ray.config.schema import SandboxConfig
    from tracelift_ray.verification.code_runner import CodeRunner


@dataclass(frozen=True)
class RunnerKind:
    """What a kind of runner is.

    Attributes:
        build: makes a runner for that many programs at a time, once it has judged known programs right.
        local: programs run on this machine, in one of its sandbox tiers; otherwise in the service at
            ``SandboxConfig.service``.
    """

    build: Callable[[SandboxConfig, int], CodeRunner]
    local: bool


def _sandbox(config: SandboxConfig, slots: int) -> CodeRunner:
    from tracelift_ray.verification.sandbox.pool import Sandbox

    return Sandbox(config, slots)


def _sandbox_fusion(config: SandboxConfig, slots: int) -> CodeRunner:
    from tracelift_ray.verification.sandbox_fusion.runner import SandboxFusion

    return SandboxFusion(config)


RUNNERS: dict[str, RunnerKind] = {
    "sandbox": RunnerKind(_sandbox, local=True),
    "sandbox_fusion": RunnerKind(_sandbox_fusion, local=False),
}


def runner_slots(config: SandboxConfig, cpus: float) -> int:
    """How many programs a runner should run at a time: those of its service, or as many as there are CPUs."""
    if not RUNNERS[config.runner].local and config.service is not None:
        return config.service.concurrency
    return config.slots or max(1, round(cpus))


def build_runner(config: SandboxConfig, slots: int) -> CodeRunner:
    """The configured runner, ready for programs.

    Args:
        slots: programs that run at a time, on this machine.

    Raises:
        InfrastructureError: no sandbox tier holds here, or the service does not answer as it should.
    """
    return RUNNERS[config.runner].build(config, slots)
