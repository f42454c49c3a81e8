"""What runs a program against its tests and says what became of it; ``sandbox.pool.Sandbox`` is the one that does."""

from __future__ import annotations

from typing import Protocol

from tracelift_ray.types import CodeTests, Verdict


class CodeRunner(Protocol):
    """Runs programs. Methods may be called from several threads."""

    def run(self, program: str, tests: CodeTests, stop_early: bool = False) -> Verdict:
        """Runs every test; the outcome is that of the first that fails. Raises InfrastructureError.

        Args:
            stop_early: whether the tests after the first that fails may be left out.
        """
        ...

    def close(self) -> None:
        """End all processes. A run in progress raises InfrastructureError."""
        ...
