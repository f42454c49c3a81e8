"""What a training run of the reasoning RM is told, and the rules its values keep; defaults: conf/train_rm.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from tracelift_ray.config.errors import ConfigError


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters on every linear layer of the backbone, merged into it when the model is saved."""

    rank: int  # 0: train all weights
    alpha: int
    dropout: float


@dataclass(frozen=True)
class LossSettings:
    """The weight of each term of the loss, and the margin of the last (see losses.py)."""

    classification: float
    regression: float
    ranking: float
    negative_ranking: float
    negative_margin: float


@dataclass(frozen=True)
class TrainRmConfig:
    """One training run of the reasoning RM."""

    model: str  # the backbone's directory
    groups: str  # TraceLift-Groups JSONL
    output: str  # the directory made
    on_error: str  # strict | skip
    max_tests: int  # 0: all
    heldout_fraction: float
    seed: int
    epochs: int
    max_steps: int  # 0: as many as the epochs have
    groups_per_step: int
    groups_per_forward: int
    negatives_per_group: int
    max_length: int  # tokens
    eval_batch_tokens: int
    lr: float
    head_lr: float
    warmup_steps: int
    weight_decay: float
    grad_clip: float
    dropout: float
    dtype: str  # float32 | bfloat16
    gradient_checkpointing: bool
    device: str  # auto | cpu | cuda
    second_input_model: str | None  # relative to output
    log_every: int
    lora: LoraSettings
    loss: LossSettings


def check_training(config: TrainRmConfig) -> None:
    """Raises ConfigError for the first value out of range."""
    for key in ("model", "groups", "output"):
        _require(bool(getattr(config, key)), key, getattr(config, key), "must name a path")
    _require(config.on_error in ("strict", "skip"), "on_error", config.on_error, "must be strict or skip")
    _require(config.dtype in ("float32", "bfloat16"), "dtype", config.dtype, "must be float32 or bfloat16")
    _require(config.device in ("auto", "cpu", "cuda"), "device", config.device, "must be auto, cpu or cuda")
    fraction = config.heldout_fraction
    _require(0 < fraction < 1, "heldout_fraction", fraction, "must lie between 0 and 1, both excluded")
    for key in ("epochs", "groups_per_step", "groups_per_forward", "negatives_per_group", "max_length", "log_every"):
        _require(getattr(config, key) >= 1, key, getattr(config, key), "must be at least 1")
    for key in ("max_tests", "max_steps", "warmup_steps", "weight_decay"):
        _require(getattr(config, key) >= 0, key, getattr(config, key), "must not be negative")
    for key in ("lr", "head_lr", "grad_clip", "eval_batch_tokens"):
        _require(getattr(config, key) > 0, key, getattr(config, key), "must be greater than 0")
    for key, value in (("dropout", config.dropout), ("lora.dropout", config.lora.dropout)):
        _require(0 <= value < 1, key, value, "must be at least 0 and less than 1")
    _require(config.lora.rank >= 0, "lora.rank", config.lora.rank, "must be 0 (all weights) or a rank")
    _require(config.lora.alpha > 0, "lora.alpha", config.lora.alpha, "must be greater than 0")
    for key in ("classification", "regression", "ranking", "negative_ranking", "negative_margin"):
        value = getattr(config.loss, key)
        _require(value >= 0, f"loss.{key}", value, "must not be negative")


def _require(holds: bool, key: str, value: object, right: str) -> None:
    if not holds:
        raise ConfigError(key, value, right)
