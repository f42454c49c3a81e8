"""Puts the parts of a run together: prompts, the system, rollout, scheduler and evaluation, from one configuration.

Knows no Ray: whoever has pools (actors, or engines in one process) gets the same run from here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tracelift_ray.config.schema import RunConfig
from tracelift_ray.data.sampler import ProblemSampler
from tracelift_ray.engines.kinds import is_remote
from tracelift_ray.evaluation.attempts import Attempts, Manner, TraceChecks
from tracelift_ray.evaluation.run import ResultsInMemory, Task, evaluate_all
from tracelift_ray.evaluation.summary import summarise
from tracelift_ray.rl.baseline_cache import BaselineCache, BaselineIdentity, executor_fingerprint
from tracelift_ray.rl.baselines import Baselines
from tracelift_ray.rl.rollout import PlannerExecutorSystem, Rollout, SystemSettings
from tracelift_ray.rl.scheduler import Scheduler
from tracelift_ray.tasks.prompts import PromptRenderer, load_tokenizer
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import DataError, Problem


def system_settings(run: RunConfig) -> SystemSettings:
    """Prompts and sampling of a run. Raises ``DataError`` for a tokenizer that does not fit the preset."""
    planner = load_tokenizer(run.planner.model)
    executor = planner if run.executor.model == run.planner.model else load_tokenizer(run.executor.model)
    return SystemSettings(
        PromptRenderer(planner, run.planner.prompt),
        PromptRenderer(executor, run.executor.prompt),
        run.planner.sampling,
        run.executor.sampling,
        run.executor.max_prompt_tokens,
        run.data.max_trace_chars,
        run.seed,
    )


@dataclass(frozen=True)
class Fitting:
    """Problems whose prompts fit, and how many were left out because one does not."""

    problems: tuple[Problem, ...]
    too_long: int


def fitting_problems(problems: Sequence[Problem], settings: SystemSettings, run: RunConfig) -> Fitting:
    """Leave out problems whose planner or executor prompt is longer than configured.

    Raises:
        DataError: none is left.
    """
    fitting = tuple(
        problem
        for problem in problems
        if len(settings.planner_prompts.planner(problem).token_ids) <= run.planner.max_prompt_tokens
        and len(settings.executor_prompts.executor(problem, None).token_ids) <= run.executor.max_prompt_tokens
    )
    if problems and not fitting:
        raise DataError(
            f"the prompts of all {len(problems)} problems are longer than planner.max_prompt_tokens="
            f"{run.planner.max_prompt_tokens} or executor.max_prompt_tokens={run.executor.max_prompt_tokens}: raise one"
        )
    return Fitting(fitting, len(problems) - len(fitting))


def has_code(*problems: Sequence[Problem]) -> bool:
    """Whether checking artifacts of any of them runs programs."""
    return any(task_of(problem.task).runs_programs for some in problems for problem in some)


def build_rollout(run: RunConfig, system: PlannerExecutorSystem) -> Rollout:
    """What runs groups."""
    return Rollout(
        system,
        Baselines(system, _baseline_cache(run, system) if run.reward.baseline == "cached" else None),
        run.reward,
        group_size=run.algorithm.group_size,
        min_traces=run.stream.min_traces,
        deadline_s=run.stream.group_deadline_s,
    )


def _baseline_cache(run: RunConfig, system: PlannerExecutorSystem) -> BaselineCache:
    remote = is_remote(run.executor.engine)
    executor = f"{run.executor.remote.base_url} {run.executor.remote.model}"
    identity = BaselineIdentity(
        executor if remote else executor_fingerprint(run.executor.model),
        run.sandbox,
        run.verifier.math_timeout_s,
        run.reward.cached_samples,
    )
    return BaselineCache(
        run.reward.baseline_cache,
        identity,
        lambda problem: system.executor_request(problem, None, run.reward.cached_samples, ()),
    )


def build_scheduler(run: RunConfig, rollout: Rollout, problems: Sequence[Problem]) -> Scheduler:
    """The stream over ``problems``."""
    return Scheduler(rollout, ProblemSampler(problems, run.seed), run.stream, run.algorithm)


class HeldOutEvaluation:
    """Evaluates the same held-out problems each time: ``evaluation.problems`` of each task, in their order."""

    def __init__(
        self, run: RunConfig, system: PlannerExecutorSystem, heldout: Sequence[Problem], checks: TraceChecks
    ) -> None:
        taken: Counter[str] = Counter()
        chosen = []
        for problem in heldout:
            if taken[problem.task] < run.evaluation.problems:
                taken[problem.task] += 1
                chosen.append(problem)
        self.problems = tuple(chosen)
        self.attempts = Attempts(
            system,
            Manner(
                "greedy",
                run.evaluation.num_samples,
                scored=system.pools.reasoning_rm is not None,
                mask_leaks=run.reward.leak == "mask",
                whole_text=run.reward.malformed == "whole_text",
                checks=checks,
            ),
        )

    async def __call__(self) -> dict[str, Any]:
        """The metrics of one evaluation."""
        results = ResultsInMemory()
        tasks: list[Task] = [(problem.task, problem) for problem in self.problems]
        await evaluate_all(tasks, self.attempts.evaluate, results, say=lambda line: None)
        return summarise(self.problems, list(results.done.values())).metrics()
