"""A composed configuration becomes a run: typed, with absolute paths, checked across fields."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from tracelift_ray.config.load import resolved_values, to_dataclass
from tracelift_ray.config.models import ReasoningRmConfig
from tracelift_ray.config.paths import SETTINGS, is_path
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.planning.checks import check_run
from tracelift_ray.tasks.presets import presets

#: Keys of ``conf/config.yaml`` that other values are made from and that are no fields of a run.
HELPER_KEYS = frozenset({"runs_root", "variant"})


def to_run_config(
    cfg: DictConfig,
    *,
    base: Path | None = None,
    extra: Collection[str] = (),
    trains: bool = True,
    files: bool = True,
) -> RunConfig:
    """Convert and check a composed configuration.

    Args:
        cfg: what Hydra composed, interpolations unresolved.
        base: what relative paths start from; None: the current directory.
        extra: top-level keys that the entry point itself reads.
        trains: whether the rules of training count.
        files: whether the files and directories that it names must be on this machine.

    Returns:
        The run, every path absolute. In a multirun ``name`` ends with the job's variant.

    Raises:
        ConfigError: the first wrong value, in the order of the schema, then of the cross-field rules.
    """
    values = resolved_values(cfg)
    fields = {key: value for key, value in values.items() if key not in HELPER_KEYS and key not in extra}
    config = to_dataclass(RunConfig, fields)
    config = replace(config, name=f"{config.name}{values.get('variant', '')}")
    config = absolute_paths(config, base or Path.cwd())
    check_run(config, trains=trains, files=files)
    return config


def absolute_paths(config: RunConfig, base: Path) -> RunConfig:
    """The same run with every path absolute: a Ray job runs in a temporary copy of the working directory."""

    absolute, prompt = partial(_absolute, base=base), partial(absolute_prompt, base=base)

    def source(name: str) -> str:
        location, mark, settings = name.partition(SETTINGS)
        return f"{absolute(location)}{mark}{settings}" if is_path(name) else name

    def sources(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(source, names))

    return replace(
        config,
        run_dir=absolute(config.run_dir),
        resume=config.resume if config.resume in ("auto", "never") else absolute(config.resume),
        planner=replace(config.planner, model=absolute(config.planner.model), prompt=prompt(config.planner.prompt)),
        executor=replace(config.executor, model=absolute(config.executor.model), prompt=prompt(config.executor.prompt)),
        sandbox=replace(config.sandbox, packages=absolute(config.sandbox.packages)),
        cluster=replace(config.cluster, describe=absolute(config.cluster.describe)),
        reasoning_rm=absolute_rm_paths(config.reasoning_rm, base),
        reward=replace(config.reward, baseline_cache=absolute(config.reward.baseline_cache)),
        data=replace(
            config.data,
            train=sources(config.data.train),
            heldout=sources(config.data.heldout),
            solution_cache=absolute(config.data.solution_cache),
        ),
    )


def absolute_rm_paths(config: ReasoningRmConfig, base: Path) -> ReasoningRmConfig:
    """The same reasoning RM with every path absolute."""
    judge = config.judge
    if judge is not None:
        judge = replace(judge, model=_absolute(judge.model, base), prompt=absolute_prompt(judge.prompt, base))
    return replace(config, model=_absolute(config.model, base), judge=judge)


def absolute_prompt(prompt: str, base: Path) -> str:
    """A prompt file with an absolute path; the name of a preset stays."""
    return prompt if prompt in presets() else _absolute(prompt, base)


def _absolute(path: str, base: Path) -> str:
    """Links keep their names, which other nodes may know alone; a path with ``..`` has to follow those before it."""
    if not path:
        return path
    absolute = base / Path(path).expanduser()
    return str(absolute.resolve() if ".." in absolute.parts else absolute)
