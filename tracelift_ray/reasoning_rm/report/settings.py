"""What a report on a reward model is told, and the rules its values keep; defaults: conf/rm_report.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.schema import ReasoningRmConfig
from tracelift_ray.planning.scoring import check_reasoning_rm


@dataclass(frozen=True)
class RmReportConfig:
    """One report."""

    model: str  # the reward model's directory
    groups: str | None  # held-out TraceLift-Groups
    heldout_fraction: float  # 1: all groups of the file
    limit: int  # 0: all
    trace_only: str | None  # a reward model's directory
    backbone: str | None  # a language model's directory
    run: str | None  # a training run's directory
    windows: int
    judge_traces: int
    judge: ReasoningRmConfig | None
    dtype: str  # float32 | bfloat16
    max_length: int
    max_tests: int  # 0: all
    batch_tokens: int
    share_prefixes: bool
    out: str | None  # None: in the reward model's directory


def check_report(config: RmReportConfig) -> None:
    """Raises ConfigError for the first value out of range."""
    if config.groups is None and config.run is None:
        raise ConfigError("groups", None, "or run must be given: there is nothing to report on")
    if config.judge is not None:
        if config.run is None:
            raise ConfigError("run", None, "must be given where there is a judge: it judges a run's traces")
        check_reasoning_rm(config.judge, "judge")
        if config.judge.backend == "model" and not config.judge.model:
            raise ConfigError("judge.model", config.judge.model, "must be another reward model's directory")
        asked = config.judge.judge if config.judge.backend == "judge" else None
        if asked is not None and asked.engine.kind != "openai" and not asked.model:
            raise ConfigError("judge.judge.model", asked.model, "must be a language model's directory")
    if config.dtype not in ("float32", "bfloat16"):
        raise ConfigError("dtype", config.dtype, "must be float32 or bfloat16")
    if not 0 < config.heldout_fraction <= 1:
        raise ConfigError("heldout_fraction", config.heldout_fraction, "must be above 0, and at most 1")
    for key in ("windows", "judge_traces", "max_length", "batch_tokens"):
        if getattr(config, key) < 1:
            raise ConfigError(key, getattr(config, key), "must be at least 1")
    for key in ("limit", "max_tests"):
        if getattr(config, key) < 0:
            raise ConfigError(key, getattr(config, key), "must not be negative")
