"""The settings of a training run of the reasoning RM, and their check; defaults: conf/train_rm.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.rules import BelowOne, Count, Fraction, NotNegative, PathText, Positive, PositiveCount
from tracelift_ray.config.schema import OnError, Wandb


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters on the linear layers of the backbone, merged into it when the model is saved."""

    rank: Count  # 0: train all weights
    alpha: PositiveCount
    dropout: BelowOne
    layers: Count  # the topmost ones; 0: all


@dataclass(frozen=True)
class LossSettings:
    """The weight of each term of the loss, and the margin of the last (see losses.py)."""

    classification: NotNegative
    regression: NotNegative
    ranking: NotNegative
    negative_ranking: NotNegative
    negative_margin: NotNegative
    prefix: NotNegative


@dataclass(frozen=True)
class RankSettings:
    """The DeepSpeed processes of one machine that train together."""

    workers: PositiveCount
    zero_stage: Literal[0, 1, 2, 3]
    startup_s: Positive
    deadline_s: Positive


@dataclass(frozen=True)
class TrainRmConfig:
    """One training run of the reasoning RM."""

    model: PathText  # the backbone's directory
    groups: PathText  # TraceLift-Groups JSONL
    heldout_groups: str | None  # JSONL; None: a share of ``groups``
    output: PathText  # the directory made
    on_error: OnError
    max_tests: Count  # 0: all
    heldout_fraction: Fraction
    show_problem: bool
    seed: Count
    epochs: PositiveCount
    max_steps: Count  # 0: as many as the epochs have
    groups_per_step: PositiveCount
    micro_batch_tokens: PositiveCount
    share_prefixes: bool
    negatives_per_group: PositiveCount
    max_length: PositiveCount  # tokens
    eval_every: Count  # steps; 0: once an epoch
    eval_groups: Count  # 0: all held-out ones
    eval_batch_tokens: PositiveCount
    patience: Count  # evaluations; 0: never stop early
    save_every: Count  # steps; 0: only at evaluations
    lr: Positive
    head_lr: Positive
    warmup_steps: Count
    weight_decay: NotNegative
    grad_clip: Positive
    dropout: BelowOne
    dtype: Literal["float32", "bfloat16"]
    save_dtype: Literal["float32", "bfloat16"]
    gradient_checkpointing: bool
    device: Literal["auto", "cpu", "cuda"]
    log_every: PositiveCount
    wandb: Wandb
    project: str
    ranks: RankSettings
    lora: LoraSettings
    loss: LossSettings


def check_training(config: TrainRmConfig) -> None:
    """Raises ConfigError where two values do not fit each other."""
    if config.loss.prefix > 0 and not config.share_prefixes:
        raise ConfigError("loss.prefix", config.loss.prefix, "must be 0 where share_prefixes=false")
