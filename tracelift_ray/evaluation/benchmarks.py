"""The problems of an evaluation, and the passes over them: with the run's executor, then with another one.

Each pass opens only the pools that it needs, and none where every problem has its result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.identity import identity
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.data.problems import load_problems
from tracelift_ray.data.sources import resolve_sources
from tracelift_ray.demo.source import demo_problems, is_of_world, trace_checks
from tracelift_ray.engines.identity import executor_identity, model_fingerprint
from tracelift_ray.engines.kinds import is_remote
from tracelift_ray.errors import DataError
from tracelift_ray.evaluation.attempts import Attempts, Manner, TraceChecks
from tracelift_ray.evaluation.results import ProblemResult, ResultStore
from tracelift_ray.evaluation.run import Say, Task, concurrency_of, evaluate_all
from tracelift_ray.evaluation.settings import EvaluateConfig, benchmark_name
from tracelift_ray.planning.checks import check_run
from tracelift_ray.planning.run_config import absolute_prompt
from tracelift_ray.reward.arms import requirements
from tracelift_ray.rl.assembly import check_readable, fit_problems, system_settings
from tracelift_ray.rl.system import PlannerExecutorSystem, SystemPools, SystemSettings
from tracelift_ray.tasks.presets import prompt_identity
from tracelift_ray.tasks.table import TASKS, extraction_versions
from tracelift_ray.types import Problem

#: Where the results under another executor are, in the directory of the evaluation.
OTHER = "other_executor"


class OpenPools(Protocol):
    """Brings up the pools of a run, which close at the end of the ``async with``."""

    def __call__(
        self, run: RunConfig, problems: Sequence[Problem], *, plans: bool
    ) -> AbstractAsyncContextManager[SystemPools]:
        """Pools that can verify ``problems``; without ``plans`` those that write and score traces stay down."""


@dataclass(frozen=True)
class Pass:
    """The results of one pass, and the causes of those that are missing."""

    results: Mapping[tuple[str, str], ProblemResult]
    causes: Counter[str]


def named_problems(run: RunConfig, config: EvaluateConfig, say: Say) -> dict[str, tuple[Problem, ...]]:
    """The problems of each benchmark: of the files, else the run's held-out problems by task.

    Raises:
        DataError: a file is unusable.
    """
    if config.benchmarks:
        return {benchmark_name(path): _load(path, config.limit, run, say) for path in config.benchmarks}
    heldout = resolve_sources(run.data, run.seed, demo_problems).heldout
    most = config.limit or run.evaluation.problems
    return {task: tuple(p for p in heldout if p.task == task)[:most] for task in sorted(TASKS)}


def evaluation_tasks(
    named: Mapping[str, tuple[Problem, ...]], run: RunConfig, settings: SystemSettings, say: Say
) -> list[Task]:
    """Benchmark and problem, for every problem whose prompts fit.

    Raises:
        DataError: no problem is left, or planner or executor cannot read those of a benchmark.
    """
    tasks: list[Task] = []
    for name, problems in named.items():
        fit = fit_problems(problems, settings, run)
        if fit.too_long:
            say(f"{name}: {fit.too_long:,} of {len(problems):,} problems left out, their prompts are too long")
        check_readable(name, fit.problems, settings)
        tasks += [(name, problem) for problem in fit.problems]
    if not tasks:
        raise DataError("there is no problem: give benchmarks=[FILE], or data.heldout or data.heldout_fraction")
    return tasks


def _load(path: str, limit: int, run: RunConfig, say: Say) -> tuple[Problem, ...]:
    """The problems of a benchmark, uncut and with all their tests."""
    loaded = load_problems(path, on_error=run.data.on_error, limit=limit)
    say(loaded.report.summary())
    return loaded.records


def setup_of(run: RunConfig, config: EvaluateConfig) -> dict[str, Any]:
    """What results depend on, as plain values; two evaluations are comparable where only ``planner`` differs."""
    executor = run.executor
    sampling, planned = executor.sampling, run.planner.sampling
    return {
        "planner": {"weights": model_fingerprint(run.planner.model), "prompt": prompt_identity(run.planner.prompt)},
        "planner_sampling": {
            "traces": config.traces,
            "temperature": planned.temperature if config.traces == "sampled" else 0.0,
            "top_p": planned.top_p if config.traces == "sampled" else 1.0,
            "max_new_tokens": planned.max_new_tokens,
            **({"top_k": planned.top_k} if config.traces == "sampled" and planned.top_k else {}),
        },
        "executor": {
            **executor_identity(executor),
            "prompt": prompt_identity(executor.prompt),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_new_tokens": sampling.max_new_tokens,
        },
        "verifier": {"extraction": extraction_versions(), **identity(run.verifier)},
        "sandbox": identity(run.sandbox),
        "attempts": run.evaluation.num_samples,
        "seed": run.seed,
        "malformed": run.reward.malformed,
        "leak": run.reward.leak,
        "max_trace_chars": run.data.max_trace_chars,
    }


def with_other_executor(run: RunConfig, config: EvaluateConfig) -> RunConfig:
    """The run with the other executor. Raises ConfigError where the two do not go together."""
    other = config.other_executor
    assert other.model is not None
    engine = replace(run.executor.engine, kind=other.engine or run.executor.engine.kind)
    if is_remote(engine):
        right = f"is needed: the executor is served elsewhere (executor.engine.kind={engine.kind}), the other one here"
        raise ConfigError("other_executor.engine", ConfigError.MISSING, right)
    executor = replace(
        run.executor,
        model=str(Path(other.model).absolute()),
        prompt=absolute_prompt(other.prompt, Path.cwd()) if other.prompt else run.executor.prompt,
        engine=engine,
    )
    changed = replace(run, executor=executor)
    check_run(changed, trains=False)
    return changed


def checks_for(run: RunConfig, tasks: Sequence[Task]) -> TraceChecks:
    """The run's further checks of traces, where they can be made of every problem; published ones are no demo world."""
    return trace_checks(run.data) if all(is_of_world(problem) for _, problem in tasks) else {}


async def run_pass(
    run: RunConfig,
    config: EvaluateConfig,
    tasks: list[Task],
    store: ResultStore,
    open_pools: OpenPools,
    say: Say,
    earlier: Pass | None = None,
) -> Pass:
    """New traces and their executions under the executor of ``run``; with an earlier pass, its traces instead."""
    if earlier is not None:
        tasks = [task for task in tasks if (task[0], task[1].id) in earlier.results]
    ordered = [(name, problem.id) for name, problem in tasks]
    causes: Counter[str] = Counter()
    if set(ordered) - store.done.keys():
        settings, scored = system_settings(run), requirements(run.reward).rubric
        manner = Manner.of(run, config.traces, scored=scored, checks=checks_for(run, tasks))
        async with open_pools(run, [problem for _, problem in tasks], plans=earlier is None) as pools:
            attempts = Attempts(PlannerExecutorSystem(pools, settings), manner)

            async def solve(name: str, problem: Problem) -> ProblemResult:
                if earlier is None:
                    return await attempts.evaluate(name, problem)
                return await attempts.replay(earlier.results[name, problem.id], problem)

            side_by_side = concurrency_of(run.planner.pool, run.executor.pool)
            causes = await evaluate_all(tasks, solve, store, say=say, concurrency=side_by_side)
    return Pass({key: store.done[key] for key in ordered if key in store.done}, causes)
