"""The settings of the models of a run: how each is prompted, sampled, served and scored with, and its actor pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from tracelift_ray.config.rules import Address, Count, NotNegative, OneOf, Positive, PositiveCount, Share

Dtype = Literal["float32", "bfloat16", "float16", "auto"]
#: A preset of conf/prompts, or a file of the user's.
PromptFile = Annotated[str, OneOf("tracelift_ray.tasks.presets:presets", or_file=True)]

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
    health_s: Positive = 30.0  # a member that was late with a request shows so soon that it lives, or is replaced


@dataclass(frozen=True)
class SamplingConfig:
    """How a model samples."""

    temperature: NotNegative
    top_p: Share
    max_new_tokens: PositiveCount
    seeded: bool  # hashed per-request seeds; slow on GPUs


@dataclass(frozen=True)
class PlannerSamplingConfig(SamplingConfig):
    """How the policy samples; the learner takes its log-probs from the same distribution."""

    top_k: Count  # 0: all tokens


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
    extra: dict[str, Any]  # further arguments of the engine itself


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
    prompt: PromptFile
    max_prompt_tokens: PositiveCount
    sampling: PlannerSamplingConfig
    engine: EngineConfig
    pool: PoolConfig


@dataclass(frozen=True)
class ExecutorConfig:
    """The frozen model that turns problem and trace into an artifact."""

    model: str
    prompt: PromptFile
    max_prompt_tokens: PositiveCount
    sampling: SamplingConfig
    stop_when_answered: bool
    engine: EngineConfig
    remote: RemoteConfig
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
    prompt: PromptFile
    sampling: SamplingConfig
    engine: EngineConfig
    remote: RemoteConfig


@dataclass(frozen=True)
class ReasoningRmConfig:
    """What scores traces against the rubric; the parts of backends not chosen may be absent."""

    backend: Annotated[str, OneOf("tracelift_ray.reasoning_rm.scoring.kinds:SCORERS")]
    model: str  # of backend model
    dtype: Literal["float32", "bfloat16", "float16"]
    max_length: PositiveCount
    max_batch_tokens: PositiveCount
    remote: ScoringServiceConfig | None
    judge: JudgeConfig | None
    pool: PoolConfig
