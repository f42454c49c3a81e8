"""The settings of a report on a reward model, and their check; defaults: conf/rm_report.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.models import ReasoningRmConfig
from tracelift_ray.config.rules import Count, PathText, PositiveCount, Share
from tracelift_ray.reasoning_rm.scoring.kinds import check_reasoning_rm, scorer_kind


@dataclass(frozen=True)
class RmReportConfig:
    """One report."""

    model: PathText  # the reward model's directory
    groups: str | None  # held-out TraceLift-Groups
    heldout_fraction: Share  # 1: all groups of the file
    limit: Count  # 0: all
    trace_only: str | None  # a reward model's directory
    backbone: str | None  # a language model's directory
    run: str | None  # a training run's directory
    windows: PositiveCount
    judge_traces: PositiveCount
    judge: ReasoningRmConfig | None
    dtype: Literal["float32", "bfloat16"]
    max_length: PositiveCount
    max_tests: Count  # 0: all
    batch_tokens: PositiveCount
    share_prefixes: bool
    out: str | None  # None: in the reward model's directory


def check_report(config: RmReportConfig) -> None:
    """Raises ConfigError for the first value that lacks what it needs."""
    if config.groups is None and config.run is None:
        raise ConfigError("groups", None, "there is nothing to report on; give groups=FILE.jsonl, run=RUN_DIR or both")
    if config.judge is not None:
        if config.run is None:
            raise ConfigError(
                "run", None, "must be the directory of a run where there is a judge: it judges that run's traces"
            )
        check_reasoning_rm(config.judge, "judge")
        directory = scorer_kind(config.judge).directory(config.judge)
        if directory is not None and not directory.path:
            raise ConfigError(f"judge.{directory.key}", directory.path, f"must be the directory of {directory.what}")
