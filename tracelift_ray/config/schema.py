"""The settings of a run, as frozen dataclasses: one for each configuration group; those of models are in ``models.py``.

A field's type says all of its rule: the choices (``Literal``, ``OneOf`` a table) or the range. Its default and its
description are in ``conf/*.yaml``; here every field is required, so that a value has one home. ``load.py`` converts a
composed Hydra configuration into these, ``planning/checks.py`` holds the rules across fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from tracelift_ray.config.models import ExecutorConfig, PlannerConfig, PoolConfig, ReasoningRmConfig
from tracelift_ray.config.rules import (
    Address,
    AtLeast,
    BelowOne,
    Coefficient,
    Count,
    Fraction,
    NotNegative,
    OneOf,
    Positive,
    PositiveCount,
    Share,
)

OnError = Literal["strict", "skip"]
Schedule = Literal["constant", "linear", "cosine"]
Wandb = Literal["auto", "online", "offline", "disabled"]
WandbArtifacts = Literal["none", "planner", "checkpoint"]


@dataclass(frozen=True)
class VerifierConfig:
    """How artifacts are checked; programs run as ``SandboxConfig`` says."""

    math_timeout_s: Positive
    pool: PoolConfig


@dataclass(frozen=True)
class CodeServiceConfig:
    """A service elsewhere that runs programs (sandbox runner ``sandbox_fusion``)."""

    url: Annotated[str, Address("a code service, without /run_code", "http://127.0.0.1:8080")]
    concurrency: PositiveCount  # tests under way at a time, per verifier actor
    timeout_s: Positive  # one test, beyond its own wall limit
    retries: Count


@dataclass(frozen=True)
class SandboxConfig:
    """What runs untrusted programs, and what one run of one test may use; service only where the runner has one."""

    runner: Annotated[str, OneOf("tracelift_ray.verification.runners:RUNNERS")]
    service: CodeServiceConfig | None
    tier: Annotated[
        str,
        OneOf(
            "tracelift_ray.verification.sandbox.tiers:TIERS",
            also=("auto",),
            renamed=(("userns", "namespaces"), ("flat", "landlock")),
        ),
    ]
    slots: PositiveCount | None  # runs at a time of one verifier actor; None: its CPUs
    cores: tuple[Count, ...]  # slot i is pinned to core i modulo their number; empty: not pinned
    cpu_s: Positive  # per test
    wall_s: Positive  # per test
    memory_mib: Annotated[int, AtLeast(64, "Python alone needs that much")]  # address space
    output_kib: PositiveCount  # stdout and stderr together
    file_mib: PositiveCount  # any one file
    max_files: Annotated[int, AtLeast(16, "Python alone needs some")]  # open at a time
    threads: PositiveCount
    preload: tuple[str, ...]  # modules imported once, before programs run
    packages: str  # a directory of third-party packages that programs may import; empty: none


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters, which are trained in place of the weights; none at rank 0."""

    rank: Count
    alpha: Positive
    dropout: BelowOne
    target_modules: tuple[str, ...]  # names of layers, or the ends of their names; empty: every linear layer
    rslora: bool
    dora: bool
    transfer: Literal["merged", "adapter"]
    save_merged: bool


@dataclass(frozen=True)
class LearnerConfig:
    """The DeepSpeed learner."""

    num_workers: PositiveCount
    cpus_per_worker: NotNegative
    gpus_per_worker: NotNegative
    collective: Literal["gloo", "nccl"]
    zero_stage: Literal[0, 1, 2, 3]
    offload_optimizer: bool  # zero_stage 1 or more
    offload_parameters: bool  # zero_stage 3
    dtype: Literal["float32", "bfloat16"]
    lr: NotNegative
    betas: tuple[BelowOne, BelowOne]
    weight_decay: NotNegative
    schedule: Schedule
    warmup_steps: Count
    grad_clip: NotNegative
    micro_batch_tokens: PositiveCount
    layout: Literal["padded", "packed"]
    sequence_parallel: PositiveCount  # ranks that share a micro-batch
    gradient_checkpointing: bool
    update_deadline_s: Positive
    startup_s: Positive
    restarts: Count  # after the loss of a rank
    save_every: Count  # steps; 0: only at the end
    ready_share: BelowOne  # of the time, for keeping the last finished update ready; 0: none
    keep_checkpoints: PositiveCount
    keep_best: str  # a metric; empty: none
    export_every: Count  # steps; 0: never
    keep_exports: PositiveCount
    upload_command: str  # for /bin/sh; empty: none
    upload_deadline_s: Positive
    lora: LoraConfig

    @property
    def sent_adapter(self) -> LoraConfig | None:
        """The adapter whose tensors alone go to the planner; None: all weights do."""
        return self.lora if self.lora.rank and self.lora.transfer == "adapter" else None


@dataclass(frozen=True)
class RewardConfig:
    """The executor-grounded reward and its arms."""

    arm: Annotated[str, OneOf("tracelift_ray.reward.arms:ARMS")]
    num_samples: PositiveCount  # K
    e2e: Annotated[str, OneOf("tracelift_ray.reward.turns:E2E")]
    math_execution_weight: NotNegative
    math_grounded_weight: NotNegative
    code_grounded_weight: NotNegative
    clip_max: Positive | None  # None: 1 + code_grounded_weight
    tie_table: dict[int, Coefficient]  # c for n successes on both sides; n absent: 0 for 0, 1 for K, else n / K
    execution_style: Literal["binary", "pass_rate", "coderl", "hybrid"]
    baseline: Literal["per_group", "cached", "pooled"]
    baseline_samples: PositiveCount  # of a group, used by baseline pooled
    baseline_strength: Positive  # of the prior, in samples; used by baseline pooled
    cached_samples: Annotated[int, AtLeast(16, "a frozen small draw is biased")]
    baseline_cache: str  # directory of cached baselines
    malformed: Literal["floor", "whole_text"]
    overlong: Literal["train", "mask"]
    leak: Literal["report", "mask"]
    options: dict[str, float]  # constants that one arm alone has


@dataclass(frozen=True)
class AlgorithmConfig:
    """Batches, advantages and the policy loss."""

    groups_per_step: PositiveCount
    group_size: PositiveCount
    advantage: Annotated[str, OneOf("tracelift_ray.rl.advantages:ESTIMATORS", renamed=(("group", "grpo"),))]
    advantage_std: Literal["population", "sample", "none"]
    advantage_eps: NotNegative
    min_std: NotNegative  # no advantage below it
    std_floor: NotNegative  # lower bound of the divisor
    best_of: PositiveCount  # k, used by advantage best_of
    component_weights: dict[str, NotNegative]  # used by advantage gdpo; a component that is absent: 1
    overlong_penalty: NotNegative  # at length_limit; 0: none
    overlong_buffer: Share  # of length_limit, over which the penalty grows
    length_limit: PositiveCount  # tokens of a completion
    loss: Annotated[str, OneOf("tracelift_ray.rl.losses:LOSSES")]
    clip_low: Coefficient  # 1: no lower bound
    clip_high: NotNegative
    clip_dual: NotNegative  # above 1; 0: none
    correction: Annotated[str, OneOf("tracelift_ray.rl.corrections:CORRECTIONS")]
    mismatch_cap: NotNegative  # C of truncated weights; 0: no correction
    correction_low: NotNegative
    correction_high: Positive
    k3_bound: Positive
    entropy_coef: NotNegative
    kl_coef: NotNegative
    kl_kind: Literal["k1", "k2", "k3"]
    normalisation: Annotated[str, OneOf("tracelift_ray.rl.normalisations:NORMALISATIONS")]
    constant_length: PositiveCount  # tokens; used by normalisation constant
    updates_per_batch: PositiveCount


@dataclass(frozen=True)
class CurriculumConfig:
    """Problems that the executor alone always or never solves."""

    enabled: bool
    easy_threshold: Coefficient | None  # success without a trace; None: no problem is too easy
    hard_threshold: Coefficient | None
    min_samples: PositiveCount
    revisit_after: PositiveCount  # epochs


@dataclass(frozen=True)
class DataConfig:
    """Which problems, and how they are read."""

    train: tuple[str, ...]  # files or demo:NAME
    heldout: tuple[str, ...]  # empty: heldout_fraction of train, by a hash of the problem id
    format: Annotated[str, OneOf("tracelift_ray.data.formats:FORMATS", also=("auto",))]
    fields: dict[str, str]
    weights: tuple[Positive, ...]  # of the sources of train; empty: every problem is in every epoch
    heldout_fraction: Fraction
    on_error: OnError
    max_problem_chars: PositiveCount
    max_trace_chars: PositiveCount
    max_tests: PositiveCount
    limit: Count  # 0: all
    check_solutions: Literal["off", "report", "drop"]
    solution_cache: str  # directory of verdicts on reference solutions
    curriculum: CurriculumConfig


@dataclass(frozen=True)
class StreamConfig:
    """The asynchronous loop."""

    max_staleness: Count
    order: Literal["arrival", "submission"]
    max_refills: Count  # groups per step that may replace groups without signal; 0: such groups stay in the batch
    min_traces: PositiveCount  # a group with fewer unmasked traces fails
    max_failed_groups: Count  # per step, then the run stops with the causes
    weight_transfer: Annotated[str, OneOf("tracelift_ray.transfer.kinds:TRANSFERS", renamed=(("nccl", "collective"),))]
    weight_encoding: Literal["full", "delta"]
    bucket_mib: PositiveCount
    broadcast_deadline_s: Positive
    group_deadline_s: Positive
    canary_bound: NotNegative | None  # nats; 0: no canary; None: by dtype

    @property
    def sends_changes(self) -> bool:
        """Whether a version of the weights may go out as what changed since the one before."""
        return self.weight_encoding == "delta"


@dataclass(frozen=True)
class TrackingConfig:
    """Where metrics go."""

    wandb: Wandb
    project: str
    entity: str | None
    table_every: Count  # steps between tables of traces; 0: never
    table_rows: Count
    wandb_artifacts: WandbArtifacts  # what of each checkpoint becomes one, of the W&B run
    tensorboard: bool
    console: bool
    quiet_s: NotNegative  # without progress, until a line says what holds what; 0: never
    usage_s: Positive  # between two readings of what the processes use
    prometheus: bool
    timeline: bool
    timeline_steps: PositiveCount


@dataclass(frozen=True)
class ClusterConfig:
    """Which Ray."""

    address: str  # local, auto or HOST:PORT
    num_cpus: Count  # local only; 0: as many logical CPUs as the pools ask for
    num_gpus: Count  # local only; 0: those that Ray finds
    placement_timeout_s: Positive
    share_gpus: tuple[tuple[str, ...], ...]  # pools that lie on the same GPUs
    describe: str  # a file that describes a cluster, for dry runs; empty: the one that there is
    object_store_mib: Annotated[int, AtLeast(80, "Ray refuses less")]  # local only
    dashboard: bool  # local only


@dataclass(frozen=True)
class EvaluationConfig:
    """System accuracy on held-out problems."""

    at_start: bool
    every: Count  # steps; 0: only at the end
    problems: Count  # per task
    num_samples: PositiveCount  # executor samples per problem


@dataclass(frozen=True)
class RunConfig:
    """A whole run."""

    name: str
    seed: Count
    run_dir: str
    total_steps: PositiveCount
    resume: str  # auto, never or a checkpoint directory
    dry_run: bool
    planner: PlannerConfig
    executor: ExecutorConfig
    verifier: VerifierConfig
    sandbox: SandboxConfig
    reasoning_rm: ReasoningRmConfig
    learner: LearnerConfig
    reward: RewardConfig
    algorithm: AlgorithmConfig
    data: DataConfig
    stream: StreamConfig
    tracking: TrackingConfig
    cluster: ClusterConfig
    evaluation: EvaluationConfig
