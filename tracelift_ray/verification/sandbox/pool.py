"""Slots that run untrusted programs, and who gets which."""

from __future__ import annotations

from tracelift_ray.config.schema import SandboxConfig
from tracelift_ray.types import CodeTests, Verdict


class Sandbox:
    """Runs programs against tests in ``slots`` isolated processes. Safe to use from several threads.

    Attributes:
        tier: the tier in use: ``userns``, ``flat`` or ``unsafe_subprocess``.

    Raises:
        InfrastructureError: no tier holds on this machine, with the reason of each and the remedy.
    """

    tier: str

    def __init__(self, config: SandboxConfig, slots: int) -> None:
        raise NotImplementedError

    def run(self, program: str, tests: CodeTests, stop_early: bool = False) -> Verdict:
        """Runs every test, in order; the outcome is that of the first that fails.

        Args:
            stop_early: end at the first test that fails, where nobody asks how many pass.

        Raises:
            TestsUnusable: the tests cannot be run, whatever the program.
            NoVerdict: something else than the program ended the run, twice.
            InfrastructureError: the sandbox was closed, or no slot could be started.
        """
        raise NotImplementedError

    def close(self) -> None:
        """End every process. A run in progress raises InfrastructureError."""
        raise NotImplementedError
