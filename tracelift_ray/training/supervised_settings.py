"""The settings of a warm start, and its check; defaults and descriptions: conf/warm_start.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.models import PromptFile
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
    """Raises ConfigError where the output exists: nothing is overwritten."""
    output = Path(config.output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        right = "must not exist yet, or be an empty directory; nothing is overwritten"
        raise ConfigError("output", config.output, right)
