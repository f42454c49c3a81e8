"""Evaluate a planner on held-out problems: ``python -m launch.evaluate checkpoint=DIR key=value …``.

With a checkpoint of a run, the configuration that the run was started with is used, and overrides change single
fields of it; with any other Hugging Face directory the configuration is composed as for training. Prints one table,
and for a run's checkpoint writes ``evaluation.json`` into it.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from launch.entry import entry_point
from tracelift_ray.config.load import ConfigError, to_run_config
from tracelift_ray.config.schema import RunConfig

KEY = "checkpoint"


@entry_point("evaluate")
def main(cfg: DictConfig) -> int:
    """Evaluate ``checkpoint``."""
    if OmegaConf.is_missing(cfg, KEY):
        raise ConfigError(KEY, ConfigError.MISSING, "is needed: a checkpoint of a run, or a Hugging Face directory")
    checkpoint = Path(cfg[KEY]).absolute()
    if not checkpoint.is_dir():
        raise ConfigError(KEY, str(checkpoint), "is no directory")
    planner = checkpoint / "planner" if (checkpoint / "planner").is_dir() else checkpoint
    own = _run_configuration(checkpoint)
    base = cfg if own is None else own
    OmegaConf.update(base, "planner.model", str(planner))
    run = to_run_config(base, extra=(KEY,))
    metrics = asyncio.run(_evaluate(run))
    if own is not None:
        (checkpoint / "evaluation.json").write_text(json.dumps(metrics, indent=1) + "\n")
    _show(metrics)
    return 0


def _run_configuration(checkpoint: Path) -> DictConfig | None:
    """The configuration of the run that wrote ``checkpoint``, with this command's overrides; None outside a run."""
    snapshot = checkpoint.parent.parent / "config.yaml"
    if not snapshot.is_file():
        return None
    config = OmegaConf.load(snapshot)
    assert isinstance(config, DictConfig)
    overrides = [o for o in HydraConfig.get().overrides.task if not o.startswith(f"{KEY}=")]
    for key, _, value in (override.partition("=") for override in overrides):
        if "." not in key and (key not in config or isinstance(config[key], DictConfig)):
            right = f"cannot be chosen anew for a run's checkpoint; change single fields of {snapshot}"
            raise ConfigError(key, value, right)
    config.merge_with_dotlist(overrides)
    return config


async def _evaluate(run: RunConfig) -> dict[str, float]:
    from actors.runtime import connect
    from actors.system import RaySystem, shutdown
    from tracelift_ray.config.resources import total_cpus
    from tracelift_ray.data.solution_check import sound_problems
    from tracelift_ray.data.sources import resolve_sources
    from tracelift_ray.demo.checks import trace_checks
    from tracelift_ray.streaming.assembly import HeldOutEvaluation, fitting_problems, has_code, system_settings
    from tracelift_ray.streaming.rollout import PlannerExecutorSystem
    from tracelift_ray.types import DataError

    settings = system_settings(run)
    fitting = fitting_problems(resolve_sources(run.data, run.seed).heldout, settings, run)
    _, heldout = await sound_problems(run.data, run.sandbox, (), fitting.problems, print)
    if not heldout or run.evaluation.problems == 0:
        raise DataError("there is no held-out problem; give data.heldout, data.heldout_fraction, evaluation.problems")
    connect(run.cluster, total_cpus(run))
    try:
        actors = RaySystem(run, code=has_code(heldout), trains=False)
        await actors.start()
        try:
            system = PlannerExecutorSystem(actors.pools, settings)
            metrics = await HeldOutEvaluation(run, system, heldout, trace_checks(run.data))()
        finally:
            await actors.close()
    finally:
        shutdown()
    return metrics


def _show(metrics: dict[str, float]) -> None:
    """One table: a row for each figure, a column for each task."""
    from rich.console import Console
    from rich.table import Table

    tasks = sorted({name.split("/")[1] for name in metrics})
    table = Table(title="held-out problems")
    table.add_column("")
    for task in tasks:
        table.add_column(task, justify="right")
    for figure in dict.fromkeys(name.split("/", 2)[2] for name in metrics):
        values = (metrics.get(f"evaluation/{task}/{figure}") for task in tasks)
        table.add_row(figure, *("" if value is None else f"{value:.3f}" for value in values))
    Console().print(table)


if __name__ == "__main__":
    main()
