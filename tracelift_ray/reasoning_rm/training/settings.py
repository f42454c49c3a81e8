"""What a training run of the reasoning RM is told, and the rules its values keep; defaults: conf/train_rm.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from tracelift_ray.config.errors import ConfigError


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters on the linear layers of the backbone, merged into it when the model is saved."""

    rank: int  # 0: train all weights
    alpha: int
    dropout: float
    layers: int  # the topmost ones; 0: all


@dataclass(frozen=True)
class LossSettings:
    """The weight of each term of the loss, and the margin of the last (see losses.py)."""

    classification: float
    regression: float
    ranking: float
    negative_ranking: float
    negative_margin: float
    prefix: float


@dataclass(frozen=True)
class RankSettings:
    """The DeepSpeed processes of one machine that train together."""

    workers: int
    zero_stage: int
    startup_s: float
    deadline_s: float


@dataclass(frozen=True)
class TrainRmConfig:
    """One training run of the reasoning RM."""

    model: str  # the backbone's directory
    groups: str  # TraceLift-Groups JSONL
    heldout_groups: str | None  # JSONL; None: a share of ``groups``
    output: str  # the directory made
    on_error: str  # strict | skip
    max_tests: int  # 0: all
    heldout_fraction: float
    show_problem: bool
    seed: int
    epochs: int
    max_steps: int  # 0: as many as the epochs have
    groups_per_step: int
    micro_batch_tokens: int
    share_prefixes: bool
    negatives_per_group: int
    max_length: int  # tokens
    eval_every: int  # steps; 0: once an epoch
    eval_groups: int  # 0: all held-out ones
    eval_batch_tokens: int
    patience: int  # evaluations; 0: never stop early
    save_every: int  # steps; 0: only at evaluations
    lr: float
    head_lr: float
    warmup_steps: int
    weight_decay: float
    grad_clip: float
    dropout: float
    dtype: str  # float32 | bfloat16
    save_dtype: str  # float32 | bfloat16
    gradient_checkpointing: bool
    device: str  # auto | cpu | cuda
    log_every: int
    wandb: str  # auto | online | offline | disabled
    project: str
    ranks: RankSettings
    lora: LoraSettings
    loss: LossSettings


_CHOICES = {
    "on_error": ("strict", "skip"),
    "dtype": ("float32", "bfloat16"),
    "save_dtype": ("float32", "bfloat16"),
    "device": ("auto", "cpu", "cuda"),
    "wandb": ("auto", "online", "offline", "disabled"),
}
_AT_LEAST_ONE = (
    "epochs",
    "groups_per_step",
    "micro_batch_tokens",
    "negatives_per_group",
    "max_length",
    "eval_batch_tokens",
    "log_every",
)
_NOT_NEGATIVE = ("max_tests", "max_steps", "eval_every", "eval_groups", "patience", "save_every", "warmup_steps")


def check_training(config: TrainRmConfig) -> None:
    """Raises ConfigError for the first value out of range."""
    for key in ("model", "groups", "output"):
        _require(bool(getattr(config, key)), key, getattr(config, key), "must name a path")
    for key, choices in _CHOICES.items():
        value = getattr(config, key)
        _require(value in choices, key, value, f"must be {', '.join(choices[:-1])} or {choices[-1]}")
    fraction = config.heldout_fraction
    _require(0 < fraction < 1, "heldout_fraction", fraction, "must lie between 0 and 1, both excluded")
    for key in _AT_LEAST_ONE:
        _require(getattr(config, key) >= 1, key, getattr(config, key), "must be at least 1")
    for key in (*_NOT_NEGATIVE, "weight_decay"):
        _require(getattr(config, key) >= 0, key, getattr(config, key), "must not be negative")
    for key in ("lr", "head_lr", "grad_clip"):
        _require(getattr(config, key) > 0, key, getattr(config, key), "must be greater than 0")
    for key, value in (("dropout", config.dropout), ("lora.dropout", config.lora.dropout)):
        _require(0 <= value < 1, key, value, "must be at least 0 and less than 1")
    alone = config.loss.prefix > 0 and not config.share_prefixes
    _require(not alone, "loss.prefix", config.loss.prefix, "must be 0 where share_prefixes is false")
    _check_parts(config)


def _check_parts(config: TrainRmConfig) -> None:
    """The nested settings."""
    _require(config.lora.rank >= 0, "lora.rank", config.lora.rank, "must be 0 (all weights) or a rank")
    _require(config.lora.alpha > 0, "lora.alpha", config.lora.alpha, "must be greater than 0")
    _require(config.lora.layers >= 0, "lora.layers", config.lora.layers, "must be 0 (all layers) or a number of them")
    for key in ("classification", "regression", "ranking", "negative_ranking", "negative_margin", "prefix"):
        value = getattr(config.loss, key)
        _require(value >= 0, f"loss.{key}", value, "must not be negative")
    ranks = config.ranks
    _require(ranks.workers >= 1, "ranks.workers", ranks.workers, "must be at least 1")
    _require(ranks.zero_stage in range(4), "ranks.zero_stage", ranks.zero_stage, "must be 0, 1, 2 or 3")
    for key, seconds in (("startup_s", ranks.startup_s), ("deadline_s", ranks.deadline_s)):
        _require(seconds > 0, f"ranks.{key}", seconds, "must be greater than 0")


def _require(holds: bool, key: str, value: object, right: str) -> None:
    if not holds:
        raise ConfigError(key, value, right)
