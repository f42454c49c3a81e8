"""The settings of a run, as frozen dataclasses: one for each configuration group.

A field's type says all of its rule: the choices (``Literal``, ``OneOf`` a table) or the range. Its default and its
description are in ``conf/*.yaml``; here every field is required, so that a value has one home. ``load.py`` converts a
composed Hydra configuration into these, ``planning/checks.py`` holds the rules across fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

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

Dtype = Literal["float32", "bfloat16", "float16", "auto"]
OnError = Literal["strict", "skip"]
Schedule = Literal["constant", "linear", "cosine"]
Wandb = Literal["auto", "online", "offline", "disabled"]

SERVER = Address("an OpenAI-compatible server", "http://127.0.0.1:8000/v1")
SERVICE = Address("a scoring service", "http://127.0.0.1:8009/score")


@dataclass(frozen=True)
class PoolConfig:
    """Size, resources and deadline of one actor pool."""

    workers: PositiveCount
    cpus_per_worker: NotNegative
    gpus_per_worker: NotNegative
    max_concurrency: PositiveCount  # requests that one worker holds at a time
    deadline_s: Positive  # one request, queueing in the worker included
    retries: Count  # further tries on another member after an infrastructure error


@dataclass(frozen=True)
class SamplingConfig:
    """How a model samples."""

    temperature: NotNegative
    top_p: Share
    max_new_tokens: PositiveCount
    seeded: bool  # hashed per-request seeds; slow on GPUs


@dataclass(frozen=True)
class EngineConfig:
    """How a model of ours is served; the fields of engines not chosen have no effect."""

    kind: Annotated[str, OneOf("tracelift_ray.engines.kinds:ENGINES")]
    dtype: Dtype
    max_model_len: PositiveCount
    tensor_parallel_size: PositiveCount
    gpu_memory_utilization: Share
    kv_cache_gib: Positive  # vLLM's CPU build only
    max_num_seqs: PositiveCount
    enforce_eager: bool
    prefix_caching: bool
    startup_s: Positive  # deadline for the engine to answer


@dataclass(frozen=True)
class RemoteConfig:
    """An OpenAI-compatible server (engine kind ``openai``)."""

    base_url: Annotated[str, SERVER]
    model: str
    api: Literal["completions", "chat"]
    api_key_env: str  # name of the environment variable that holds the key; empty: none
    concurrency: PositiveCount
    timeout_s: Positive
    retries: Count


@dataclass(frozen=True)
class PlannerConfig:
    """The policy that is trained."""

    model: str
    prompt: Literal["plain", "chat", "demo"]
    max_prompt_tokens: PositiveCount
    sampling: SamplingConfig
    engine: EngineConfig
    pool: PoolConfig


@dataclass(frozen=True)
class ExecutorConfig:
    """The frozen model that turns problem and trace into an artifact."""

    model: str
    prompt: Literal["plain", "chat", "demo"]
    max_prompt_tokens: PositiveCount
    sampling: SamplingConfig
    engine: EngineConfig
    remote: RemoteConfig
    pool: PoolConfig


@dataclass(frozen=True)
class VerifierConfig:
    """How artifacts are checked; programs run as ``SandboxConfig`` says."""

    math_timeout_s: Positive
    pool: PoolConfig


@dataclass(frozen=True)
class ScoringServiceConfig:
    """A scoring service elsewhere (reasoning RM backend ``remote``)."""

    url: Annotated[str, SERVICE]
    api_key_env: str  # name of the environment variable that holds the key; empty: none
    batch_size: PositiveCount  # traces of one request, at most
    concurrency: PositiveCount  # requests under way at a time, per actor
    timeout_s: Positive  # one request
    deadline_s: Positive  # one trace, waiting and further tries included
    retries: Count
    send_tests: bool


@dataclass(frozen=True)
class JudgeConfig:
    """A language model that is asked for the rubric (reasoning RM backend ``judge``)."""

    model: str
    prompt: Literal["plain", "chat"]
    sampling: SamplingConfig
    engine: EngineConfig
    remote: RemoteConfig


@dataclass(frozen=True)
class SandboxConfig:
    """Where untrusted programs run, and what one run of one test may use."""

    tier: Literal["auto", "userns", "flat", "unsafe_subprocess"]
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
class ReasoningRmConfig:
    """What scores traces against the rubric; the parts of backends not chosen may be absent."""

    backend: Literal["model", "remote", "judge"]
    model: str  # of backend model
    dtype: Literal["float32", "bfloat16", "float16"]
    max_length: PositiveCount
    max_batch_tokens: PositiveCount
    remote: ScoringServiceConfig | None
    judge: JudgeConfig | None
    pool: PoolConfig


@dataclass(frozen=True)
class LearnerConfig:
    """The DeepSpeed learner."""

    num_workers: PositiveCount
    cpus_per_worker: NotNegative
    gpus_per_worker: NotNegative
    collective: Literal["gloo", "nccl"]
    zero_stage: Literal[0, 1, 2, 3]
    dtype: Literal["float32", "bfloat16"]
    lr: NotNegative
    betas: tuple[BelowOne, BelowOne]
    weight_decay: NotNegative
    schedule: Schedule
    warmup_steps: Count
    grad_clip: NotNegative
    micro_batch_tokens: PositiveCount
    layout: Literal["padded", "packed"]
    gradient_checkpointing: bool
    update_deadline_s: Positive
    startup_s: Positive
    save_every: Count  # steps; 0: only at the end
    keep_checkpoints: PositiveCount


@dataclass(frozen=True)
class RewardConfig:
    """The executor-grounded reward and its arms."""

    arm: Annotated[str, OneOf("tracelift_ray.reward.arms:ARMS")]
    num_samples: PositiveCount  # K
    e2e: Literal["fresh", "mean"]
    math_execution_weight: NotNegative
    math_grounded_weight: NotNegative
    code_grounded_weight: NotNegative
    clip_max: Positive | None  # None: 1 + code_grounded_weight
    tie_table: dict[int, Coefficient]  # c for n successes on both sides; n absent: 0 for 0, 1 for K, else n / K
    execution_style: Literal["binary", "pass_rate", "coderl", "hybrid"]
    baseline: Literal["per_group", "cached"]
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
    advantage: Annotated[str, OneOf("tracelift_ray.rl.advantages:ESTIMATORS")]
    advantage_std: Literal["population", "sample", "none"]
    advantage_eps: NotNegative
    min_std: NotNegative  # no advantage below it
    std_floor: NotNegative  # lower bound of the divisor
    loss: Annotated[str, OneOf("tracelift_ray.rl.losses:LOSSES")]
    clip_low: BelowOne
    clip_high: NotNegative
    mismatch_cap: NotNegative  # C of the truncated importance weight; 0: no correction
    kl_coef: NotNegative
    kl_kind: Literal["k1", "k2", "k3"]
    normalisation: Annotated[str, OneOf("tracelift_ray.rl.losses:NORMALISATIONS")]
    constant_length: PositiveCount  # tokens; used by normalisation constant
    updates_per_batch: PositiveCount


@dataclass(frozen=True)
class DataConfig:
    """Which problems, and how they are read."""

    train: tuple[str, ...]  # files or demo:NAME
    heldout: tuple[str, ...]  # empty: heldout_fraction of train, by a hash of the problem id
    format: Annotated[str, OneOf("tracelift_ray.data.formats:FORMATS", also=("auto",))]
    heldout_fraction: Fraction
    on_error: OnError
    max_problem_chars: PositiveCount
    max_trace_chars: PositiveCount
    max_tests: PositiveCount
    limit: Count  # 0: all
    check_solutions: Literal["off", "report", "drop"]
    solution_cache: str  # directory of verdicts on reference solutions


@dataclass(frozen=True)
class StreamConfig:
    """The asynchronous loop."""

    max_staleness: Count
    max_refills: Count  # groups per step that may replace groups without signal; 0: such groups stay in the batch
    min_traces: PositiveCount  # a group with fewer unmasked traces fails
    max_failed_groups: Count  # per step, then the run stops with the causes
    weight_transfer: Annotated[str, OneOf("tracelift_ray.transfer.kinds:TRANSFERS")]
    bucket_mib: PositiveCount
    broadcast_deadline_s: Positive
    group_deadline_s: Positive


@dataclass(frozen=True)
class TrackingConfig:
    """Where metrics go."""

    wandb: Wandb
    project: str
    entity: str | None
    table_every: Count  # steps between tables of traces; 0: never
    table_rows: Count
    console: bool


@dataclass(frozen=True)
class ClusterConfig:
    """Which Ray."""

    address: str  # local, auto or HOST:PORT
    num_cpus: Count  # local only; 0: as many logical CPUs as the pools ask for
    num_gpus: Count  # local only; 0: those that Ray finds
    placement_timeout_s: Positive
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
