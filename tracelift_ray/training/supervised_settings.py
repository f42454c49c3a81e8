"""What a warm start is told, and the rules its values keep; defaults and descriptions: conf/warm_start.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tracelift_ray.config.errors import ConfigError


@dataclass(frozen=True)
class WarmStartConfig:
    """One supervised warm start of a planner."""

    model: str  # directory of the planner to start from
    examples: str  # JSONL
    format: str  # auto | gsm8k | problems | groups
    output: str  # the directory made
    prompt: str  # preset: plain | chat | demo
    on_error: str  # strict | skip
    max_examples: int  # 0: all
    max_length: int  # tokens of prompt and trace
    steps: int
    batch_size: int  # traces of one optimizer step
    micro_batch_tokens: int
    lr: float
    warmup_steps: int
    schedule: str  # constant | linear | cosine
    weight_decay: float
    grad_clip: float  # 0: no clipping
    dtype: str  # float32 | bfloat16
    gradient_checkpointing: bool
    device: str  # auto | cpu | cuda
    seed: int
    log_every: int
    eval_problems: int  # 0: no check
    eval_tokens: int


def check_warm_start(config: WarmStartConfig) -> None:
    """Raises ConfigError for the first value out of range."""
    for key in ("model", "examples", "output"):
        _require(bool(getattr(config, key)), key, getattr(config, key), "must name a path")
    choices = {
        "format": ("auto", "gsm8k", "problems", "groups"),
        "prompt": ("plain", "chat", "demo"),
        "on_error": ("strict", "skip"),
        "schedule": ("constant", "linear", "cosine"),
        "dtype": ("float32", "bfloat16"),
        "device": ("auto", "cpu", "cuda"),
    }
    for key, allowed in choices.items():
        _require(getattr(config, key) in allowed, key, getattr(config, key), f"must be one of {', '.join(allowed)}")
    for key in ("max_length", "steps", "batch_size", "micro_batch_tokens", "log_every", "eval_tokens"):
        _require(getattr(config, key) >= 1, key, getattr(config, key), "must be at least 1")
    for key in ("max_examples", "warmup_steps", "weight_decay", "grad_clip", "eval_problems"):
        _require(getattr(config, key) >= 0, key, getattr(config, key), "must not be negative")
    _require(config.lr > 0, "lr", config.lr, "must be greater than 0")
    output = Path(config.output)
    _require(
        not output.exists() or (output.is_dir() and not any(output.iterdir())),
        "output",
        config.output,
        "must not exist yet, or be an empty directory; nothing is overwritten",
    )


def _require(holds: bool, key: str, value: object, right: str) -> None:
    if not holds:
        raise ConfigError(key, value, right)
