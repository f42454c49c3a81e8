"""Engines and verifiers of this process as the pools of a planner-executor system, for work that needs no cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tracelift_ray.config.models import PoolConfig
from tracelift_ray.engines.base import Engine
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.types import Artifact, Completion, Problem, Prompt, SamplingParams, Verdict
from tracelift_ray.verification.verifier import Verifier


class LocalGenerator:
    """An engine of this process as a ``pools.GeneratorPool``."""

    def __init__(self, name: str, engine: Engine, pool: PoolConfig) -> None:
        self.engine = engine
        self._name = name
        self._deadline_s = pool.deadline_s
        self._slots = asyncio.Semaphore(pool.max_concurrency)

    async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
        try:
            async with asyncio.timeout(self._deadline_s), self._slots:
                return await self.engine.generate(prompt, params)
        except TimeoutError as error:
            cause = f"no completion within {self._name}.pool.deadline_s={self._deadline_s:g} s: check its load"
            raise InfrastructureError(self._name, cause) from error


class LocalVerifier:
    """A verifier of this process as a ``pools.VerifierPool``."""

    def __init__(self, verifier: Verifier, threads: int) -> None:
        self._verifier = verifier
        self._threads = ThreadPoolExecutor(threads)

    async def verify(self, problem: Problem, artifacts: Sequence[Artifact]) -> list[Verdict]:
        loop = asyncio.get_running_loop()
        checks = (loop.run_in_executor(self._threads, self._verifier.verify, problem, each) for each in artifacts)
        return list(await asyncio.gather(*checks))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._verifier.close()
