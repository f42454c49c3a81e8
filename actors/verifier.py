"""The verifier pool: actors that check artifacts off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from actors.placement import Placement
from actors.pool import PoolActor, References, actor_pool, member_options, remote_class
from tracelift_ray.config.schema import SandboxConfig, VerifierConfig
from tracelift_ray.types import Artifact, Problem, Verdict
from tracelift_ray.verification.code_runner import RunnerReport
from tracelift_ray.verification.verifier import Verifier

STARTUP_S = 120.0
#: Threads for each program that runs: others compare answers, or wait for a verdict that is under way.
THREADS = 4


class VerifierActor(PoolActor):
    """Owns a verifier, which runs as many programs at a time as it has slots, and threads for its checks."""

    def __init__(self, config: VerifierConfig, sandbox: SandboxConfig, code: bool, stop_early: bool) -> None:
        self.verifier = Verifier(config, sandbox, stop_early=stop_early)
        self.threads = ThreadPoolExecutor(THREADS * self.verifier.slots)
        self.code = code
        self.report: RunnerReport | None = None

    async def start(self) -> int:
        """Ready once the code runner is, where there will be programs; else at once.

        Returns:
            One call more than run at a time, which is there when one of them ends.
        """
        if self.code:
            self.report = await self._in_thread(self.verifier.start_runner)
        return self.verifier.slots + 1

    async def describe(self) -> RunnerReport | None:
        """Where programs run; None where there will be none."""
        return self.report

    async def verify(self, problem: Problem, artifacts: Sequence[Artifact]) -> list[Verdict]:
        """One verdict for each artifact, in order."""
        return await asyncio.gather(*(self._in_thread(self.verifier.verify, problem, each) for each in artifacts))

    async def close(self) -> None:
        """End the checks that run, and their processes."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self.verifier.close)

    async def _in_thread(self, function: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.threads, function, *args)


class RayVerifierPool:
    """Implements ``rl.pools.VerifierPool`` over actors.

    Args:
        code: whether there will be programs, so that a machine that can run none safely is refused at the start.
        stop_early: whether the number of tests that a failing program passes does not matter.
    """

    def __init__(
        self, config: VerifierConfig, sandbox: SandboxConfig, placement: Placement, *, code: bool, stop_early: bool
    ) -> None:
        actor = remote_class(VerifierActor)

        def spawn(index: int, restart: int) -> Any:
            options = member_options(config.pool, placement, "verifier", index)
            return actor.options(**options).remote(config, sandbox, code, stop_early)

        self.references = References()
        self.pool = actor_pool("verifier", config.pool, STARTUP_S, spawn)

    async def verify(self, problem: Problem, artifacts: Sequence[Artifact]) -> list[Verdict]:
        """One verdict for each artifact, in order. Tasks take turns, so that short checks pass long programs."""
        return await self.pool.call("verify", self.references.of(problem), artifacts, lane=problem.task)

    async def describe(self) -> list[RunnerReport]:
        """Where the members run programs, equal reports once. Raises InfrastructureError."""
        asked = (self.pool.control(each, STARTUP_S, "describe") for each in self.pool.members)
        return list(dict.fromkeys(report for report in await asyncio.gather(*asked) if report is not None))
