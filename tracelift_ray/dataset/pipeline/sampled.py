"""Reference traces sampled from a model: kept are those with which the executor succeeds.

Planner, executor and verifier run in this process, as one planner-executor system with the prompts of a training run.
A trace that gives the answer away, or is malformed, is no reference, even where the executor succeeds with it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from tracelift_ray.dataset.pipeline.stages import Refused
from tracelift_ray.dataset.settings import BuildGroupsConfig
from tracelift_ray.engines.kinds import build_engine, served_model
from tracelift_ray.rl.local_pools import LocalGenerator, LocalVerifier
from tracelift_ray.rl.system import PlannerExecutorSystem, SystemPools, SystemSettings
from tracelift_ray.tasks.prompts import PromptRenderer, load_tokenizer
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Problem
from tracelift_ray.verification.verifier import Verifier


class SampledReferences:
    """``stages.ReferenceStage``; started and ended by ``async with``."""

    def __init__(self, config: BuildGroupsConfig) -> None:
        self._config = config
        planner, executor = config.planner, config.executor
        self._planner = LocalGenerator("planner", build_engine(planner.engine, planner.model), planner.pool)
        engine = build_engine(executor.engine, executor.model, remote=executor.remote)
        self._executor = LocalGenerator("executor", engine, executor.pool)
        self._verifier = LocalVerifier(Verifier(config.verifier, config.sandbox, stop_early=True), config.concurrency)

    def identity(self) -> dict[str, Any]:
        """What the traces depend on beside the problem and the seed."""
        planner, executor, traces = self._config.planner, self._config.executor, self._config.traces
        return {
            "planner": [planner.model, planner.prompt, planner.sampling.temperature, planner.sampling.max_new_tokens],
            "executor": [served_model(executor), executor.prompt],
            "sampling": [executor.sampling.temperature, executor.sampling.max_new_tokens],
            "counts": [traces.samples, traces.keep, traces.executions, traces.successes],
        }

    async def traces(self, problem: Problem) -> list[str]:
        """As ``stages.ReferenceStage``: the traces kept, in the order of sampling."""
        if problem.answer is None and problem.tests is None:
            raise Refused("nothing to verify the executor with")
        asked = self._config.traces
        candidates = await asyncio.gather(*(self._candidate(problem, index) for index in range(asked.samples)))
        kept: list[str] = []
        for index, reasoning in enumerate(candidates):
            if reasoning is None or reasoning in kept or len(kept) == asked.keep:
                continue
            key = ("groups", problem.id, index)
            executions = await self._system.execute(problem, reasoning, asked.executions, key)
            if sum(execution.verdict.success for execution in executions) >= asked.successes:
                kept.append(reasoning)
        if not kept:
            raise Refused("no sampled trace with which the executor succeeds")
        return kept

    async def _candidate(self, problem: Problem, index: int) -> str | None:
        reasoning = (await self._system.trace(problem, index, ("groups", problem.id))).reasoning
        return None if reasoning is None or task_of(problem.task).leaks(problem, reasoning) else reasoning

    async def __aenter__(self) -> SampledReferences:
        config = self._config
        settings = SystemSettings(
            PromptRenderer(load_tokenizer(config.planner.model), config.planner.prompt),
            PromptRenderer(load_tokenizer(config.executor.model), config.executor.prompt),
            config.planner.sampling,
            config.executor.sampling,
            config.executor.max_prompt_tokens,
            config.clean.max_chars,
            config.seed,
        )
        pools = SystemPools(self._planner, self._executor, self._verifier, None)
        self._system = PlannerExecutorSystem(pools, settings)
        try:
            # One after the other: transformers loads no two models in one process at a time.
            await self._planner.engine.start()
            await self._executor.engine.start()
        except BaseException:  # after any failure no engine's processes may stay behind
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._verifier.close()
        await self._planner.engine.close()
        await self._executor.engine.close()
