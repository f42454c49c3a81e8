"""Puts the parts of a run together from one configuration: prompts, problems that fit, rollout and scheduler.

Knows no Ray: any pools (actors, or engines in one process) make the same run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracelift_ray.config.identity import identity
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.data.curriculum import Curriculum
from tracelift_ray.data.mixture import Mixture
from tracelift_ray.data.sampler import ProblemSampler
from tracelift_ray.engines.identity import executor_identity
from tracelift_ray.errors import DataError
from tracelift_ray.reward.arms import requirements
from tracelift_ray.rl.baseline_cache import BaselineCache, BaselineIdentity
from tracelift_ray.rl.baseline_pool import BaselinePool
from tracelift_ray.rl.baselines import Baselines
from tracelift_ray.rl.rollout import Rollout
from tracelift_ray.rl.scheduler import Scheduler
from tracelift_ray.rl.system import PlannerExecutorSystem, SystemSettings
from tracelift_ray.tasks.prompts import PromptRenderer, load_tokenizer
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Problem

#: Problems whose words are looked at, and the share of unknown tokens that no model can do with.
LOOKED_AT, UNKNOWN_SHARE = 30, 0.5


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
        run.executor.stop_when_answered,
    )


@dataclass(frozen=True)
class Fit:
    """Problems whose prompts fit, and how many were left out because one does not."""

    problems: tuple[Problem, ...]
    too_long: int


def fits(problem: Problem, settings: SystemSettings, run: RunConfig) -> bool:
    """Whether the planner's and the executor's prompt of a problem are no longer than configured."""
    planner, executor = settings.planner_prompts.planner(problem), settings.executor_prompts.executor(problem, None)
    short = len(planner.token_ids) <= run.planner.max_prompt_tokens
    return short and len(executor.token_ids) <= run.executor.max_prompt_tokens


def fit_problems(problems: Sequence[Problem], settings: SystemSettings, run: RunConfig) -> Fit:
    """Leave out problems whose planner or executor prompt is longer than configured.

    Raises:
        DataError: none is left.
    """
    fitting = tuple(problem for problem in problems if fits(problem, settings, run))
    if problems and not fitting:
        raise DataError(
            f"the prompts of all {len(problems)} problems are longer than planner.max_prompt_tokens="
            f"{run.planner.max_prompt_tokens} or executor.max_prompt_tokens={run.executor.max_prompt_tokens}: raise one"
        )
    return Fit(fitting, len(problems) - len(fitting))


def check_readable(name: str, problems: Sequence[Problem], settings: SystemSettings) -> None:
    """Raises DataError where a tokenizer does not know most words of ``name``'s problems, such as the demo world's."""
    planner, executor = settings.planner_prompts, settings.executor_prompts
    looked_at = problems[:LOOKED_AT]
    prompts = {
        "planner": (planner, [planner.planner(problem) for problem in looked_at]),
        "executor": (executor, [executor.executor(problem, None) for problem in looked_at]),
    }
    for role, (renderer, made) in prompts.items():
        unknown = renderer.tokenizer.unk_token_id
        tokens = [token for prompt in made for token in prompt.token_ids]
        if tokens and (share := tokens.count(unknown) / len(tokens)) > UNKNOWN_SHARE:
            raise DataError(
                f"{name}: {share:.0%} of the tokens of its prompts are unknown to the {role}'s tokenizer "
                f"({renderer.tokenizer.name_or_path}), whose model was made for other problems; give problems of that "
                f"kind, or another model"
            )


def runs_programs(*problems: Sequence[Problem]) -> bool:
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
    common = BaselineIdentity(
        executor_identity(run.executor),
        identity(run.verifier),
        identity(run.sandbox),
        run.reward.cached_samples,
    )
    return BaselineCache(
        run.reward.baseline_cache,
        common,
        lambda problem: system.executor_request(problem, None, run.reward.cached_samples, ()),
    )


def build_sampler(run: RunConfig, problems: Sequence[Problem], mixture: Mixture | None = None) -> ProblemSampler:
    """What draws ``problems``, mixed as ``mixture`` says."""
    settings = run.data.curriculum
    curriculum = Curriculum(settings, grows=run.reward.baseline == "per_group") if settings.enabled else None
    return ProblemSampler(problems, run.seed, mixture, curriculum)


def build_scheduler(
    run: RunConfig, rollout: Rollout, problems: Sequence[Problem], mixture: Mixture | None = None
) -> Scheduler:
    """The stream over ``problems``, mixed as ``mixture`` says."""
    pooled = run.reward.baseline == "pooled" and requirements(run.reward).baseline > 0
    baselines = BaselinePool(run.reward.baseline_strength) if pooled else None
    sampler = build_sampler(run, problems, mixture)
    return Scheduler(rollout, sampler, run.stream, run.algorithm, baselines=baselines)
