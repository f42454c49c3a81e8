"""Makes TraceLift-Groups from worked solutions: ``python -m launch.build_groups source=FILE format=gsm8k output=FILE``.

Every field is described in ``conf/build_groups.yaml``.
"""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import DictConfig

from launch.entry import entry_point
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.load import to_dataclass
from tracelift_ray.data.groups import write_groups
from tracelift_ray.data.problems import load_problems
from tracelift_ray.groups.from_solutions import build_groups
from tracelift_ray.types import DataError


@dataclass(frozen=True)
class BuildGroupsConfig:
    """What a build is told."""

    source: str
    format: str
    output: str
    on_error: str  # strict | skip
    limit: int  # problems; 0: all
    negatives: int
    seed: int
    max_problem_chars: int
    max_trace_chars: int
    withhold_answer: bool


def check(config: BuildGroupsConfig) -> None:
    """Raises ConfigError for the first value out of range."""
    rules = (
        ("format", config.format in ("auto", "problems", "gsm8k", "groups"), "must be auto, problems, gsm8k or groups"),
        ("on_error", config.on_error in ("strict", "skip"), "must be strict or skip"),
        ("limit", config.limit >= 0, "must be 0 (all) or more"),
        ("negatives", config.negatives >= 1, "must be at least 1"),
        ("max_problem_chars", config.max_problem_chars >= 1, "must be at least 1"),
        ("max_trace_chars", config.max_trace_chars >= 1, "must be at least 1"),
    )
    for key, holds, right in rules:
        if not holds:
            raise ConfigError(key, getattr(config, key), right)


@entry_point("build_groups")
def main(cfg: DictConfig) -> None:
    """The command."""
    config = to_dataclass(BuildGroupsConfig, cfg)
    check(config)
    loaded = load_problems(
        config.source,
        config.format,
        on_error=config.on_error,
        max_problem_chars=config.max_problem_chars,
        limit=config.limit,
    )
    print(loaded.report.summary())
    groups, report = build_groups(
        loaded.problems,
        source=loaded.report.format,
        negatives=config.negatives,
        seed=config.seed,
        max_trace_chars=config.max_trace_chars,
        withhold_answer=config.withhold_answer,
    )
    left_out = ", ".join(f"{reason} {count:,}" for reason, count in report.left_out.items())
    if not groups:
        raise DataError(f"{config.source}: no problem makes a group ({left_out})")
    write_groups(config.output, groups)
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in report.kinds.items())
    print(f"{report.groups:,} groups in {config.output}; negatives: {kinds}; left out: {left_out or 'none'}")


if __name__ == "__main__":
    main()
