"""Planner, executor, verifier and reasoning RM as one system: what they are asked, and how their answers are read.

Each call is one request to a pool and raises ``InfrastructureError`` where there is no result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tracelift_ray.config.models import PlannerSamplingConfig, SamplingConfig
from tracelift_ray.engines.seeds import request_seed
from tracelift_ray.rl.pools import GeneratorPool, ReasoningRmPool, VerifierPool
from tracelift_ray.rl.throughput import Throughput
from tracelift_ray.tasks.prompts import PromptRenderer
from tracelift_ray.tasks.table import read_artifact, task_of
from tracelift_ray.tasks.traces import read_trace
from tracelift_ray.types import Execution, Problem, Prompt, RubricScore, SamplingParams, Trace

#: A trace that is too long for the executor's prompt keeps this share of its characters, as often as needed.
TRACE_CUT = 0.9


@dataclass(frozen=True)
class SystemPools:
    """The pools that take a problem to a scored trajectory. ``reasoning_rm`` is None where the arm needs no rubric."""

    planner: GeneratorPool
    executor: GeneratorPool
    verifier: VerifierPool
    reasoning_rm: ReasoningRmPool | None


@dataclass(frozen=True)
class SystemSettings:
    """Prompts and sampling of the planner-executor system."""

    planner_prompts: PromptRenderer
    executor_prompts: PromptRenderer
    planner_sampling: PlannerSamplingConfig
    executor_sampling: SamplingConfig
    executor_prompt_tokens: int
    max_trace_chars: int
    seed: int
    stop_when_answered: bool = False  # executor samples end once their answer is complete


class PlannerExecutorSystem:
    """Planner, executor and verifier as one: traces for a problem, executions of a trace, the baseline."""

    def __init__(self, pools: SystemPools, settings: SystemSettings) -> None:
        self.pools = pools
        self.settings = settings
        self.throughput = Throughput()

    async def trace(
        self, problem: Problem, index: int, key: Sequence[int | str], *, greedy: bool = False, whole_text: bool = False
    ) -> Trace:
        """One trace of ``problem``; ``key`` seeds it. ``whole_text`` as in ``reward.malformed``."""
        sampling, prompts = self.settings.planner_sampling, self.settings.planner_prompts
        params = SamplingParams(
            max_new_tokens=sampling.max_new_tokens,
            temperature=0.0 if greedy else sampling.temperature,
            top_p=1.0 if greedy else sampling.top_p,
            top_k=0 if greedy else sampling.top_k,
            stop=prompts.planner_stop(problem.task),
            seed=self._seed(sampling, "planner", *key, index),
            logprobs=not greedy,
        )
        prompt = prompts.planner(problem)
        completions = await self.pools.planner.generate(prompt, params)
        self.throughput.generated("planner", completions)
        (completion,) = completions
        return read_trace(problem, index, prompt, completion, prompts.opens_tag(problem.task), whole_text)

    async def execute(
        self, problem: Problem, reasoning: str | None, count: int, key: Sequence[int | str]
    ) -> tuple[Execution, ...]:
        """``count`` verified executor samples from one request; ``reasoning`` None is the baseline."""
        prompt, params = self.executor_request(problem, reasoning, count, key)
        completions = await self.pools.executor.generate(prompt, params)
        self.throughput.generated("executor", completions)
        artifacts = [read_artifact(problem, prompt, completion) for completion in completions]
        verdicts = await self.pools.verifier.verify(problem, artifacts)
        self.throughput.count("verifier_runs", len(verdicts))
        return tuple(map(Execution, artifacts, verdicts))

    def executor_request(
        self, problem: Problem, reasoning: str | None, count: int, key: Sequence[int | str]
    ) -> tuple[Prompt, SamplingParams]:
        """What the executor is asked; a trace too long for its prompt is cut at the end."""
        sampling, prompts = self.settings.executor_sampling, self.settings.executor_prompts
        shown = None if reasoning is None else reasoning[: self.settings.max_trace_chars]
        prompt = prompts.executor(problem, shown)
        while shown and len(prompt.token_ids) > self.settings.executor_prompt_tokens:
            shown = shown[: int(len(shown) * TRACE_CUT)]
            prompt = prompts.executor(problem, shown)
        params = SamplingParams(
            max_new_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            n=count,
            stop=prompts.executor_stop(problem.task),
            until=self._until(problem, prompt),
            seed=self._seed(sampling, "executor", *key),
        )
        return replace(prompt, near=problem.id), params

    def _until(self, problem: Problem, prompt: Prompt) -> str:
        """Where a sample is complete. What a model thinks before it answers may hold an answer that is not read."""
        ends = self.settings.stop_when_answered and not prompt.strip_thinking
        return task_of(problem.task).answered if ends else ""

    async def score(self, problem: Problem, reasoning: str) -> RubricScore:
        """The rubric score of a trace."""
        if self.pools.reasoning_rm is None:
            raise RuntimeError("this run has no reasoning RM pool, yet a rubric score was asked for")
        score = await self.pools.reasoning_rm.score(problem, reasoning[: self.settings.max_trace_chars])
        self.throughput.count("scored_traces", 1)
        return score

    def _seed(self, sampling: SamplingConfig, *parts: int | str) -> int | None:
        return request_seed(self.settings.seed, *parts) if sampling.seeded else None
