"""Evaluate a planner: ``python -m launch.evaluate checkpoint=DIR benchmarks=[FILE,…] key=value …``.

With a checkpoint of a run, the configuration that the run was started with is used, and overrides change single
fields of it; with any other Hugging Face directory the configuration is composed as for training. Prints tables, and
keeps a record of every problem; an evaluation that ended early goes on where it was. See docs/evaluation.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from launch.checkpoint_config import check_given, existing, keep_prompts, planner_of, run_configuration
from launch.entry import FAILED, entry_point
from tracelift_ray.config.load import to_dataclass
from tracelift_ray.config.paths import check_writable
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.evaluation.settings import KEYS, EvaluateConfig, check_attempts, check_files
from tracelift_ray.planning.run_config import to_run_config

if TYPE_CHECKING:
    from tracelift_ray.evaluation.benchmarks import Pass
    from tracelift_ray.evaluation.results import ProblemResult
    from tracelift_ray.evaluation.run import Task

RESULTS = "results.json"


@entry_point("evaluate")
def main(cfg: DictConfig) -> int:
    """Evaluate ``checkpoint``."""
    check_given(cfg)
    config = to_dataclass(EvaluateConfig, OmegaConf.masked_copy(cfg, list(KEYS)))
    checkpoint = existing(config.checkpoint)
    check_files(config)
    own = run_configuration(checkpoint, cfg, KEYS)
    base, planner = cfg if own is None else own, planner_of(checkpoint)
    if own is None:
        keep_prompts(base, planner)
    OmegaConf.update(base, "planner.model", str(planner))
    if config.benchmarks and OmegaConf.is_missing(base["data"], "train"):
        base["data"]["train"] = list(config.benchmarks)  # which a run needs and an evaluation of files does not
    run = to_run_config(base, extra=KEYS, trains=False)
    check_attempts(config, run.evaluation.num_samples)
    runs_root = Path(cfg["runs_root"]).absolute()
    default = runs_root / "evaluations" / checkpoint.name if own is None else checkpoint / "evaluation"
    out = Path(config.out).absolute() if config.out else default
    check_writable("out", str(out))
    return asyncio.run(_evaluate(run, config, out))


async def _evaluate(run: RunConfig, config: EvaluateConfig, out: Path) -> int:
    """Problems, passes, report."""
    from tracelift_ray.evaluation.benchmarks import evaluation_tasks, named_problems, setup_of, with_other_executor
    from tracelift_ray.evaluation.results import comparable_results
    from tracelift_ray.rl.assembly import system_settings
    from tracelift_ray.tracking.alive import heartbeat

    with heartbeat(_say, "reading problems") as beat:
        named = named_problems(run, config, beat.say)
        tasks = evaluation_tasks(named, run, system_settings(run), beat.say)
    setup = setup_of(run, config)
    against = None if config.against is None else comparable_results(Path(config.against), setup)
    other_run = None if config.other_executor.model is None else with_other_executor(run, config)
    own, other = await _passes(run, other_run, config, tasks, out)
    _report(config, setup, tasks, own, other, against, out)
    causes = own.causes if other is None else own.causes + other.causes
    for cause, count in causes.most_common(3):
        _say(f"{count:,} problems without a result: {cause}")
    return FAILED if causes else 0


async def _passes(
    run: RunConfig,
    other_run: RunConfig | None,
    config: EvaluateConfig,
    tasks: list[Task],
    out: Path,
) -> tuple[Pass, Pass | None]:
    """The pass under the run's executor and, where there is one, under the other; what is done is kept in ``out``."""
    from actors.runtime import connected
    from actors.system import running_pools
    from tracelift_ray.evaluation.benchmarks import OTHER, run_pass, setup_of
    from tracelift_ray.evaluation.results import ResultStore
    from tracelift_ray.planning.resources import total_cpus
    from tracelift_ray.tracking.alive import heartbeat

    pools = partial(running_pools, say=_say)
    with contextlib.ExitStack() as opened:
        store = opened.enter_context(contextlib.closing(ResultStore(out, setup_of(run, config))))
        stores = [store]
        if other_run is not None:
            kept = ResultStore(out / OTHER, setup_of(other_run, config))
            stores.append(opened.enter_context(contextlib.closing(kept)))
        wanted = {(name, problem.id) for name, problem in tasks}
        if any(wanted - each.done.keys() for each in stores):
            with heartbeat(_say, "starting Ray" if run.cluster.address == "local" else "joining Ray"):
                opened.enter_context(connected(run.cluster, total_cpus(run)))
        opened.callback(lambda: _say(f"{len(store.done):,} results are in {out}; the same command goes on from them"))
        own = await run_pass(run, config, tasks, store, pools, _say)
        if other_run is None:
            return own, None
        return own, await run_pass(other_run, config, tasks, stores[1], pools, _say, own)


def _report(
    config: EvaluateConfig,
    setup: Mapping[str, Any],
    tasks: list[Task],
    own: Pass,
    other: Pass | None,
    against: Mapping[tuple[str, str], ProblemResult] | None,
    out: Path,
) -> None:
    """Tables, and the same figures in a file."""
    from tracelift_ray.evaluation.figures import Resampling, benchmark_figures, compare, plain, transfer
    from tracelift_ray.tasks.table import chance_level

    how = Resampling(config.confidence, config.resamples)
    asked = Counter(name for name, _ in tasks)
    by_name = {name: [result for result in own.results.values() if result.benchmark == name] for name in asked}
    chances = {name: chance_level(problem for own_name, problem in tasks if own_name == name) for name in asked}
    figures = {
        name: benchmark_figures(results, asked[name] - len(results), config.pass_at, how, chances[name])
        for name, results in by_name.items()
        if results
    }
    report: dict[str, Any] = {"setup": setup, "benchmarks": plain(figures)}
    _table("evaluation", {name: each.rows() for name, each in figures.items()})
    if against is not None:
        compared = compare(own.results, against, how)
        report["against"] = {"directory": config.against, "benchmarks": plain(compared)}
        _table(f"against {config.against}", {name: each.rows() for name, each in compared.items()})
    if other is not None:
        moved = transfer(own.results, other.results, how)
        report["other_executor"] = {"model": config.other_executor.model, "benchmarks": plain(moved)}
        _table(f"the same traces under {config.other_executor.model}", {n: each.rows() for n, each in moved.items()})
    (out / RESULTS).write_text(json.dumps(report, indent=1) + "\n")


def _say(line: str) -> None:
    print(line, flush=True)


def _table(title: str, columns: Mapping[str, Mapping[str, str]]) -> None:
    """One table: a row for each figure, a column for each benchmark."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    for figure in dict.fromkeys(figure for rows in columns.values() for figure in rows):
        table.add_row(figure, *(rows.get(figure, "") for rows in columns.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
