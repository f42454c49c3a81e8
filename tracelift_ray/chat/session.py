"""One problem at a time through planner, executor, verifier and reasoning RM, all in this process.

Engines of transformers load the models, no matter what served them in the run, so that this process is all that is
needed; a model on a server is asked there.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

from tracelift_ray.chat.lines import has_reference
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.models import EngineConfig, ReasoningRmConfig
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.engines.kinds import IN_PROCESS, build_engine, is_remote
from tracelift_ray.engines.transformers_engine import TransformersEngine
from tracelift_ray.planning.files import check_scorer
from tracelift_ray.reasoning_rm.scoring.kinds import TraceScorer, build_scorer, scorer_kind
from tracelift_ray.rl.assembly import system_settings
from tracelift_ray.rl.local_pools import LocalGenerator, LocalVerifier
from tracelift_ray.rl.system import PlannerExecutorSystem, SystemPools, SystemSettings
from tracelift_ray.tasks.table import read_artifact, task_of
from tracelift_ray.tracking.alive import Heartbeat, heartbeat
from tracelift_ray.types import Artifact, Completion, Problem, Prompt, RubricScore, SamplingParams, Trace, Verdict
from tracelift_ray.verification.verifier import Verifier

Watch = Callable[[str], None]


@dataclass(frozen=True)
class Answers:
    """The executor's artifacts, and their verdicts where the problem has a reference."""

    artifacts: tuple[Artifact, ...]
    verdicts: tuple[Verdict, ...] = ()

    @property
    def success(self) -> float | None:
        """The mean success; None without verdicts."""
        passed = [verdict.success for verdict in self.verdicts]
        return sum(passed) / len(passed) if passed else None


class StreamingPlanner:
    """The planner's engine as a pool; the text of what it writes goes to ``watch`` piece by piece."""

    def __init__(self, engine: TransformersEngine, tokenizer: Any) -> None:
        self.engine = engine
        self.watch: Watch = lambda piece: None
        self._tokenizer = tokenizer

    async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
        shown = 0

        def more(token_ids: tuple[int, ...]) -> None:
            nonlocal shown
            text = self._tokenizer.decode(token_ids, skip_special_tokens=True)
            if text.endswith("\N{REPLACEMENT CHARACTER}"):  # a character of which more tokens are to come
                return
            self.watch(text[shown:])
            shown = len(text)

        return await self.engine.generate(prompt, params, watch=more)


@dataclass(frozen=True)
class ChatSession:
    """The system, and how often the executor is asked."""

    system: PlannerExecutorSystem
    planner: StreamingPlanner
    scorer: TraceScorer | None
    answers: int
    greedy: bool

    async def trace(self, problem: Problem, watch: Watch) -> Trace:
        """One trace; ``watch`` learns its text while it is written."""
        self.planner.watch = watch
        return await self.system.trace(problem, 0, (problem.id,), greedy=self.greedy)

    async def execute(self, problem: Problem, reasoning: str | None) -> Answers:
        """The executor's answers with a trace, or without one."""
        prompt, params = self.system.executor_request(problem, reasoning, self.answers, (problem.id, str(reasoning)))
        completions = await self.system.pools.executor.generate(prompt, params)
        artifacts = tuple(read_artifact(problem, prompt, completion) for completion in completions)
        if not has_reference(problem):
            return Answers(artifacts)
        return Answers(artifacts, tuple(await self.system.pools.verifier.verify(problem, artifacts)))

    async def rubric(self, problem: Problem, reasoning: str) -> RubricScore | None:
        """The rubric score of a trace, where there is a reasoning RM."""
        if self.scorer is None:
            return None
        return await self.scorer.score(problem, reasoning[: self.system.settings.max_trace_chars])

    @staticmethod
    def leaks(problem: Problem, reasoning: str) -> bool:
        """Whether a trace gives the answer away, as far as that can be told."""
        return has_reference(problem) and task_of(problem.task).leaks(problem, reasoning)


@contextlib.asynccontextmanager
async def opened(run: RunConfig, answers: int, greedy: bool, say: Watch) -> AsyncIterator[ChatSession]:
    """A session with all models loaded; ``say`` learns what is loaded. Everything ends with the ``async with``."""
    settings = system_settings(run)
    async with contextlib.AsyncExitStack() as stack:
        with heartbeat(say, "starting") as beat:
            session = await _loaded(run, settings, answers, greedy, stack, beat)
        yield session


async def _loaded(
    run: RunConfig,
    settings: SystemSettings,
    answers: int,
    greedy: bool,
    stack: contextlib.AsyncExitStack,
    beat: Heartbeat,
) -> ChatSession:
    beat.begin(f"loading the planner {run.planner.model}")
    engine = TransformersEngine(in_process(run.planner.engine), run.planner.model, transfer=None, seed=run.seed)
    stack.push_async_callback(engine.close)
    await engine.start()
    beat.begin(f"loading the executor {run.executor.model}")
    executor = build_engine(
        in_process(run.executor.engine), run.executor.model, remote=run.executor.remote, seed=run.seed + 1
    )
    stack.push_async_callback(executor.close)
    await executor.start()
    scorer = scorer_at_hand(run.reasoning_rm)
    if scorer is not None:
        beat.begin(f"loading the reasoning RM {scorer_kind(run.reasoning_rm).label(run.reasoning_rm)}")
        stack.push_async_callback(scorer.close)
        await scorer.start()
    verifier = LocalVerifier(Verifier(run.verifier, run.sandbox), threads=answers)
    stack.callback(verifier.close)
    planner = StreamingPlanner(engine, settings.planner_prompts.tokenizer)
    pools = SystemPools(planner, LocalGenerator("executor", executor, run.executor.pool), verifier, None)
    return ChatSession(PlannerExecutorSystem(pools, settings), planner, scorer, answers, greedy)


def in_process(config: EngineConfig) -> EngineConfig:
    """The engine that this process runs for the same model; a client of a server stays one."""
    if is_remote(config):
        return config
    return replace(config, kind=IN_PROCESS, tensor_parallel_size=1, extra={})


def scorer_at_hand(config: ReasoningRmConfig) -> TraceScorer | None:
    """The run's scorer where its files are here, or where it has none; else None."""
    directory = scorer_kind(config).directory(config)
    if directory is not None and not directory.path:
        return None
    try:
        check_scorer(config)
    except ConfigError:
        return None
    judge = config.judge
    if judge is not None:
        config = replace(config, judge=replace(judge, engine=in_process(judge.engine)))
    return build_scorer(config)
