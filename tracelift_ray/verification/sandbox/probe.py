"""Which tiers work on this machine, what each lacks here, and which one to use."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tracelift_ray.config.schema import SandboxConfig
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.verification.errors import COMPONENT, NoVerdict
from tracelift_ray.verification.sandbox.controls import check_slot
from tracelift_ray.verification.sandbox.inside import landlock, seccomp
from tracelift_ray.verification.sandbox.policy import Policy, slot_message
from tracelift_ray.verification.sandbox.slot import Slot
from tracelift_ray.verification.sandbox.starvation import is_measured
from tracelift_ray.verification.sandbox.tiers import SAFE_TIERS, UNSAFE

_REMEDIES = {
    "namespaces": "allow user namespaces (sysctl user.max_user_namespaces, a container seccomp profile with unshare)",
    "landlock": "use Linux 5.13 or newer with Landlock (lsm=landlock), and a container runtime that lets it through",
}


@dataclass(frozen=True)
class TierReport:
    """What was found about a tier.

    Attributes:
        reason: why it does not hold; empty where it does.
        lacks: what it does not give here although it holds.
    """

    tier: str
    reason: str
    lacks: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        return not self.reason

    def line(self) -> str:
        """One line for the log."""
        if not self.holds:
            return f"sandbox tier {self.tier}: does not hold ({self.reason})"
        return f"sandbox tier {self.tier}: holds" + (f"; lacks {'; '.join(self.lacks)}" if self.lacks else "")


def probe_tier(tier: str, config: SandboxConfig) -> TierReport:
    """Start a slot of this tier, run the controls on it, and end it."""
    if tier in SAFE_TIERS and not seccomp.supported():
        return TierReport(tier, f"its table of system calls is for {seccomp.MACHINE}, not {platform.machine()}")
    if tier == "landlock" and not landlock.version():
        return TierReport(tier, "the kernel has no Landlock, or hides it")
    slot = Slot(policy_of(tier), config)
    try:
        slot.start()
        check_slot(slot, config)
    except NoVerdict as error:
        return TierReport(tier, error.cause)
    finally:
        slot.stop()
    return TierReport(tier, "", _lacks(tier, config))


def choose(config: SandboxConfig) -> tuple[Policy, tuple[TierReport, ...]]:
    """The policy to use, and a report on each tier that ``sandbox.tier`` lets be tried, the strongest first.

    Raises:
        InfrastructureError: none holds, with the reason of each and what to do.
    """
    asked = SAFE_TIERS if config.tier == "auto" else (config.tier,)
    reports = tuple(probe_tier(tier, config) for tier in asked)
    for report in reports:
        if report.holds:
            return policy_of(report.tier), reports
    raise InfrastructureError(COMPONENT, refusal(reports))


def refusal(reports: Sequence[TierReport]) -> str:
    """Why no program is run here, and what to do about it."""
    reasons = "; ".join(f"{report.tier}: {report.reason}" for report in reports)
    remedies = "; or ".join(_REMEDIES[report.tier] for report in reports if report.tier in _REMEDIES)
    rest = f"or, with programs that you trust, set sandbox.tier={UNSAFE}"
    return f"no sandbox holds on this machine, so no program is run ({reasons}). Either {remedies}; {rest}"


def policy_of(tier: str) -> Policy:
    """The policy of a tier; without Landlock in the kernel, a namespace tier holds by its other layers."""
    policy = Policy.of_tier(tier)
    return replace(policy, landlock=False) if tier == "namespaces" and not landlock.version() else policy


def _lacks(tier: str, config: SandboxConfig) -> tuple[str, ...]:
    """What a tier that holds does not give on this machine."""
    lacks = []
    if tier == UNSAFE:
        return ("isolation: programs can read and change what this process can, and reach the network",)
    if tier == "landlock":
        lacks.append("a scratch folder, and namespaces: programs see that files and processes exist")
    elif not landlock.version():
        lacks.append("Landlock as a second layer around files")
    if not slot_message(policy_of(tier), config, "/", ())["count_threads"]:
        lacks.append("a limit on threads other than memory")
    if not is_measured():
        lacks.append("a way to distinguish a starved machine from a slow program")
    return tuple(lacks)
