"""Scores traces by asking a language model for the rubric, for runs that have no reasoning RM yet.

The reply must be the JSON that was asked for. One that is not is shown to the model once for repair; what still cannot
be read is an infrastructure error and never a score.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tracelift_ray.config.models import JudgeConfig
from tracelift_ray.engines.kinds import build_engine, needs_tokenizer
from tracelift_ray.engines.seeds import request_seed
from tracelift_ray.errors import ComponentDead, InfrastructureError
from tracelift_ray.reasoning_rm.scoring.judging import JudgementError, judge_trace
from tracelift_ray.tasks.prompts import PromptRenderer, load_tokenizer
from tracelift_ray.tasks.templates import read_prompts
from tracelift_ray.tasks.thinking import answer_in
from tracelift_ray.types import Problem, Prompt, RubricScore, SamplingParams

COMPONENT = "reasoning_rm"


class JudgeScorer:
    """Implements ``kinds.TraceScorer`` with the model that ``config`` names.

    Args:
        seed: of sampled replies; greedy ones need none.
        sleeps: whether ``sleep`` will be called.
    """

    def __init__(self, config: JudgeConfig, seed: int = 0, sleeps: bool = False) -> None:
        self._config = config
        self._seed = seed
        self._engine = build_engine(config.engine, config.model, remote=config.remote, seed=seed, sleeps=sleeps)

    async def start(self) -> None:
        """Load the model, or see that the server has it."""
        self._render, self._stop = await asyncio.to_thread(request_renderer, self._config)
        await self._engine.start()

    async def score(self, problem: Problem, reasoning: str, max_length: int | None = None) -> RubricScore:
        """The judge's rubric of one trace.

        Args:
            max_length: of no effect; what does not fit the judge's context is refused, not cut.

        Raises:
            InfrastructureError: no reply, one that cannot be read after its repair, or a trace that is too long.
        """
        try:
            rubric = await judge_trace(problem, reasoning, lambda request: self._reply(request, problem, reasoning))
        except JudgementError as error:
            raise InfrastructureError(COMPONENT, f"the judge's reply and its repair cannot be read: {error}") from error
        return RubricScore.of(rubric.labels, rubric.total)

    async def sleep(self) -> None:
        """Free what the engine holds of its GPU."""
        await self._engine.sleep()

    async def wake(self) -> None:
        """Take it again."""
        await self._engine.wake()

    def figures(self) -> dict[str, float]:
        """None: each trace is asked about alone."""
        return {}

    async def close(self) -> None:
        """End the engine and its processes."""
        await self._engine.close()

    async def _reply(self, request: str, problem: Problem, reasoning: str) -> str:
        sampling, prompt = self._config.sampling, self._render(request)
        params = SamplingParams(
            sampling.max_new_tokens,
            sampling.temperature,
            sampling.top_p,
            stop=self._stop,
            seed=request_seed(self._seed, "judge", problem.id, reasoning) if sampling.seeded else None,
        )
        try:
            (completion,) = await self._engine.generate(prompt, params)
        except ComponentDead as error:
            raise ComponentDead(COMPONENT, f"judge: {error.cause}") from error
        except (InfrastructureError, ValueError) as error:  # ValueError: it does not fit the context
            cause = error.cause if isinstance(error, InfrastructureError) else str(error)
            raise InfrastructureError(COMPONENT, f"judge: {cause}") from error
        return answer_in(prompt, completion.text)


def request_renderer(config: JudgeConfig) -> tuple[Callable[[str], Prompt], tuple[str, ...]]:
    """How requests become prompts, and what ends a reply; a chat server applies its own template and needs no
    tokenizer here."""
    if not needs_tokenizer(config.engine, config.remote):
        return lambda text: Prompt((), text, (("user", text),)), read_prompts(config.prompt).free_request().stop
    renderer = PromptRenderer(load_tokenizer(config.model), config.prompt)
    return renderer.request, renderer.file.free_request().stop
