"""Plain learner and algorithm settings for tests, each field replaceable by keyword."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tracelift_ray.config.schema import AlgorithmConfig, LearnerConfig, LoraConfig

ALGORITHM = AlgorithmConfig(
    groups_per_step=2,
    group_size=4,
    advantage="grpo",
    advantage_std="population",
    advantage_eps=1e-6,
    min_std=1e-6,
    std_floor=0.0,
    best_of=2,
    component_weights={},
    overlong_penalty=0.0,
    overlong_buffer=0.2,
    length_limit=16,
    loss="ppo_clip",
    clip_low=0.2,
    clip_high=0.28,
    clip_dual=0.0,
    correction="token_truncated",
    mismatch_cap=2.0,
    correction_low=0.5,
    correction_high=5.0,
    k3_bound=0.01,
    entropy_coef=0.0,
    kl_coef=0.0,
    kl_kind="k3",
    normalisation="token",
    constant_length=16,
    updates_per_batch=1,
)
LORA = LoraConfig(
    rank=0,
    alpha=8.0,
    dropout=0.0,
    target_modules=(),
    rslora=False,
    dora=False,
    transfer="merged",
    save_merged=False,
)
LEARNER = LearnerConfig(
    num_workers=1,
    cpus_per_worker=1.0,
    gpus_per_worker=0.0,
    collective="gloo",
    zero_stage=0,
    offload_optimizer=False,
    offload_parameters=False,
    dtype="float32",
    lr=1e-3,
    betas=(0.9, 0.95),
    weight_decay=0.01,
    schedule="constant",
    warmup_steps=0,
    grad_clip=1.0,
    micro_batch_tokens=4096,
    sequence_parallel=1,
    layout="padded",
    gradient_checkpointing=False,
    update_deadline_s=60.0,
    startup_s=60.0,
    restarts=0,
    save_every=0,
    ready_share=0.0,
    keep_checkpoints=2,
    keep_best="",
    export_every=0,
    keep_exports=2,
    upload_command="",
    upload_deadline_s=60.0,
    lora=LORA,
)


def algorithm(**changes: Any) -> AlgorithmConfig:
    """The test algorithm with some fields changed."""
    return replace(ALGORITHM, **changes)


def lora(**changes: Any) -> LoraConfig:
    """Adapters of rank 4, with some fields changed."""
    return replace(LORA, **{"rank": 4, **changes})


def learner(**changes: Any) -> LearnerConfig:
    """The test learner with some fields changed."""
    return replace(LEARNER, **changes)
