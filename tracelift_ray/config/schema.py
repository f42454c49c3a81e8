"""What a run is told, as frozen dataclasses: one per configuration group, types only.

Defaults live in ``conf/*.yaml``, each with a comment line above it; here every field is required, so that a value
has one home. ``load.py`` converts a composed Hydra configuration into these, ``checks.py`` holds the cross-field rules.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PoolConfig:
    """Size and resources of one actor pool, and its patience."""

    workers: int
    cpus_per_worker: float
    gpus_per_worker: float
    max_concurrency: int  # requests that one worker holds at a time
    deadline_s: float  # one request, queueing in the worker included
    retries: int  # further tries on another member after an infrastructure error


@dataclass(frozen=True)
class SamplingConfig:
    """How a model samples."""

    temperature: float
    top_p: float
    max_new_tokens: int
    seeded: bool  # hashed per-request seeds; slow on GPUs


@dataclass(frozen=True)
class EngineConfig:
    """How a model of ours is served; the fields of engines not chosen have no effect."""

    kind: str  # vllm | transformers | openai
    dtype: str  # float32 | bfloat16 | float16 | auto
    max_model_len: int
    tensor_parallel_size: int
    gpu_memory_utilization: float
    kv_cache_gib: float  # vLLM's CPU build only
    max_num_seqs: int
    enforce_eager: bool
    prefix_caching: bool
    startup_s: float  # deadline for the engine to answer


@dataclass(frozen=True)
class RemoteConfig:
    """An OpenAI-compatible server (engine kind ``openai``)."""

    base_url: str
    model: str
    api: str  # completions (token ids) | chat
    api_key_env: str  # name of the environment variable that holds the key; empty: none
    concurrency: int
    timeout_s: float
    retries: int


@dataclass(frozen=True)
class PlannerConfig:
    """The policy that is trained."""

    model: str
    prompt: str  # preset: plain | chat | demo
    max_prompt_tokens: int
    sampling: SamplingConfig
    engine: EngineConfig
    pool: PoolConfig


@dataclass(frozen=True)
class ExecutorConfig:
    """The frozen model that turns problem and trace into an artifact."""

    model: str
    prompt: str
    max_prompt_tokens: int
    sampling: SamplingConfig
    engine: EngineConfig
    remote: RemoteConfig
    pool: PoolConfig


@dataclass(frozen=True)
class VerifierConfig:
    """How artifacts are checked; programs run as ``SandboxConfig`` says."""

    math_timeout_s: float
    pool: PoolConfig


@dataclass(frozen=True)
class ScoringServiceConfig:
    """A scoring service elsewhere (reasoning RM backend ``remote``)."""

    url: str
    api_key_env: str  # name of the environment variable that holds the key; empty: none
    batch_size: int  # traces of one request, at most
    concurrency: int  # requests under way at a time, per actor
    timeout_s: float  # one request
    deadline_s: float  # one trace, waiting and further tries included
    retries: int
    send_tests: bool


@dataclass(frozen=True)
class JudgeConfig:
    """A language model that is asked for the rubric (reasoning RM backend ``judge``)."""

    model: str
    prompt: str  # preset: plain | chat
    sampling: SamplingConfig
    engine: EngineConfig
    remote: RemoteConfig


@dataclass(frozen=True)
class CodeServiceConfig:
    """A service elsewhere that runs programs (sandbox runner ``sandbox_fusion``)."""

    url: str
    concurrency: int  # tests under way at a time, per verifier actor
    timeout_s: float  # one test, beyond its own wall limit
    retries: int


@dataclass(frozen=True)
class SandboxConfig:
    """What runs untrusted programs, and what one run of one test may use; service only where the runner has one."""

    runner: str  # sandbox | sandbox_fusion
    service: CodeServiceConfig | None
    tier: str  # auto | namespaces | landlock | unsafe_subprocess
    slots: int | None  # runs at a time of one verifier actor; None: its CPUs
    cores: tuple[int, ...]  # slot i is pinned to core i modulo their number; empty: not pinned
    cpu_s: float  # per test
    wall_s: float  # per test
    memory_mib: int  # address space
    output_kib: int  # stdout and stderr together
    file_mib: int  # any one file
    max_files: int  # open at a time
    threads: int
    preload: tuple[str, ...]  # modules imported once, before programs run
    packages: str  # a directory of third-party packages that programs may import; empty: none


@dataclass(frozen=True)
class ReasoningRmConfig:
    """What scores traces against the rubric; the parts of backends not chosen may be absent."""

    backend: str  # model | remote | judge
    model: str  # of backend model
    dtype: str
    max_length: int
    max_batch_tokens: int
    remote: ScoringServiceConfig | None
    judge: JudgeConfig | None
    pool: PoolConfig


@dataclass(frozen=True)
class LearnerConfig:
    """The DeepSpeed learner."""

    num_workers: int
    cpus_per_worker: float
    gpus_per_worker: float
    collective: str  # gloo | nccl
    zero_stage: int
    dtype: str  # float32 | bfloat16
    lr: float
    betas: tuple[float, float]
    weight_decay: float
    schedule: str  # constant | linear | cosine
    warmup_steps: int
    grad_clip: float
    micro_batch_tokens: int
    layout: str  # padded | packed
    gradient_checkpointing: bool
    update_deadline_s: float
    startup_s: float
    save_every: int  # steps; 0: only at the end
    keep_checkpoints: int


@dataclass(frozen=True)
class RewardConfig:
    """The executor-grounded reward and its arms."""

    arm: str  # tracelift | exec_only | rm_only | uplift_only
    num_samples: int  # K
    e2e: str  # fresh | mean
    math_execution_weight: float
    math_grounded_weight: float
    code_grounded_weight: float
    clip_max: float | None  # None: 1 + code_grounded_weight
    tie_table: dict[int, float]  # c for n successes on both sides; n absent: 0 for 0, 1 for K, else n / K
    execution_style: str  # binary | pass_rate | coderl | hybrid
    baseline: str  # per_group | cached
    cached_samples: int
    baseline_cache: str  # directory of cached baselines
    malformed: str  # floor | whole_text
    overlong: str  # train | mask
    leak: str  # report | mask


@dataclass(frozen=True)
class AlgorithmConfig:
    """Batches, advantages and the policy loss."""

    groups_per_step: int
    group_size: int
    advantage: str  # group
    advantage_std: str  # population | sample | none
    advantage_eps: float
    min_std: float  # no advantage below it
    std_floor: float  # lower bound of the divisor
    clip_low: float
    clip_high: float
    mismatch_cap: float  # C of the truncated importance weight; 0: no correction
    kl_coef: float
    kl_kind: str  # k1 | k2 | k3
    normalisation: str  # token | sequence | constant
    constant_length: int  # tokens; used by normalisation constant
    updates_per_batch: int


@dataclass(frozen=True)
class DataConfig:
    """Which problems, and how they are read."""

    train: tuple[str, ...]  # files or demo:NAME
    heldout: tuple[str, ...]  # empty: heldout_fraction of train, by a hash of the problem id
    format: str  # auto | problems | gsm8k | mbpp | humaneval | math500 | groups
    heldout_fraction: float
    on_error: str  # strict | skip
    max_problem_chars: int
    max_trace_chars: int
    max_tests: int
    limit: int  # 0: all
    check_solutions: str  # off | report | drop
    solution_cache: str  # directory of verdicts on reference solutions


@dataclass(frozen=True)
class StreamConfig:
    """The asynchronous loop."""

    max_staleness: int
    max_refills: int  # groups per step that may replace groups without signal; 0: such groups stay in the batch
    min_traces: int  # a group with fewer unmasked traces fails
    max_failed_groups: int  # per step, then the run stops with the causes
    weight_transfer: str  # shared_memory | nccl | ipc
    bucket_mib: int
    broadcast_deadline_s: float
    group_deadline_s: float


@dataclass(frozen=True)
class TrackingConfig:
    """Where metrics go."""

    wandb: str  # auto | online | offline | disabled
    project: str
    entity: str | None
    table_every: int  # steps between tables of traces; 0: never
    table_rows: int
    console: bool


@dataclass(frozen=True)
class ClusterConfig:
    """Which Ray."""

    address: str  # local | auto | an address
    num_cpus: int  # local only; 0: as many logical CPUs as the pools ask for
    num_gpus: int  # local only; 0: those that Ray finds
    placement_timeout_s: float
    object_store_mib: int  # local only
    dashboard: bool  # local only


@dataclass(frozen=True)
class EvaluationConfig:
    """System accuracy on held-out problems."""

    at_start: bool
    every: int  # steps; 0: only at the end
    problems: int  # per task
    num_samples: int  # executor samples per problem


@dataclass(frozen=True)
class RunConfig:
    """A whole run."""

    name: str
    seed: int
    run_dir: str
    total_steps: int
    resume: str  # auto | never | a checkpoint directory
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
