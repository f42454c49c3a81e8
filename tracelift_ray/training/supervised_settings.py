"""The settings of a warm start, and its check; defaults and descriptions: conf/warm_start.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tracelift_ray.config.models import PromptFile
from tracelift_ray.config.paths import check_new
from tracelift_ray.config.rules import Count, NotNegative, PathText, Positive, PositiveCount
from tracelift_ray.config.schema import OnError, Schedule


@dataclass(frozen=True)
class WarmStartConfig:
    """One supervised warm start of a planner."""

    model: PathText  # directory of the planner to start from
    examples: PathText  # JSONL
    format: Literal["auto", "gsm8k", "problems", "groups"]
    output: PathText  # the directory made
    prompt: PromptFile
    on_error: OnError
    max_examples: Count  # 0: all
    max_length: PositiveCount  # tokens of prompt and trace
    steps: PositiveCount
    batch_size: PositiveCount  # traces of one optimizer step
    micro_batch_tokens: PositiveCount
    lr: Positive
    warmup_steps: Count
    schedule: Schedule
    weight_decay: NotNegative
    grad_clip: NotNegative  # 0: no clipping
    dtype: Literal["float32", "bfloat16"]
    gradient_checkpointing: bool
    device: Literal["auto", "cpu", "cuda"]
    seed: Count
    log_every: PositiveCount
    eval_problems: Count  # 0: no check
    eval_tokens: PositiveCount


def check_warm_start(config: WarmStartConfig) -> None:
    """Raises ConfigError where the output exists, since nothing is overwritten, or cannot be written."""
    check_new("output", config.output)
