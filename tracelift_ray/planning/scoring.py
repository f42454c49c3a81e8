"""Rules of the reasoning RM's backends: what a model, a scoring service and a judge each need.

``check_reasoning_rm`` looks at one ``ReasoningRmConfig``, in a run or in the scoring service, and opens no file.
"""

from __future__ import annotations

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.schema import JudgeConfig, ReasoningRmConfig, ScoringServiceConfig
from tracelift_ray.engines.kinds import ENGINES, is_remote

BACKENDS = ("model", "remote", "judge")
#: Beside its own tokens a judge's prompt holds instructions and the rubric.
_JUDGE_ROOM = 1024
_WEB = ("http://", "https://")


def check_reasoning_rm(config: ReasoningRmConfig, key: str = "reasoning_rm") -> None:
    """Check the part that the chosen backend uses.

    Args:
        key: the dotted key of ``config``, for messages.

    Raises:
        ConfigError: the first rule that does not hold.
    """
    if config.backend == "remote":
        if config.remote is None:
            raise ConfigError(f"{key}.remote", None, f"is needed where {key}.backend=remote; use reasoning_rm=remote")
        _check_service(config.remote, config, key)
    elif config.backend == "judge":
        if config.judge is None:
            raise ConfigError(f"{key}.judge", None, f"is needed where {key}.backend=judge; use reasoning_rm=judge")
        _check_judge(config.judge, config, key)
    elif config.backend != "model":
        raise ConfigError(f"{key}.backend", config.backend, f"must be {' or '.join(BACKENDS)}")


def _check_service(service: ScoringServiceConfig, config: ReasoningRmConfig, key: str) -> None:
    own = f"{key}.remote"
    if not service.url.startswith(_WEB):
        right = "must be the whole address of a scoring service, such as http://127.0.0.1:8009/score"
        raise ConfigError(f"{own}.url", service.url, right)
    for name in ("batch_size", "concurrency"):
        _require(getattr(service, name) >= 1, f"{own}.{name}", getattr(service, name), "must be 1 or more")
    for name in ("timeout_s", "deadline_s"):
        _require(getattr(service, name) > 0, f"{own}.{name}", getattr(service, name), "must be above 0")
    _require(service.retries >= 0, f"{own}.retries", service.retries, "must be 0 or more")
    deadline = config.pool.deadline_s
    right = (
        f"must be below {key}.pool.deadline_s={deadline:g}, so that the reason is known before the actor is given up"
    )
    _require(service.deadline_s < deadline, f"{own}.deadline_s", service.deadline_s, right)
    _require(
        config.pool.gpus_per_worker == 0,
        f"{key}.pool.gpus_per_worker",
        config.pool.gpus_per_worker,
        f"must be 0 where {key}.backend=remote: its actors are clients",
    )


def _check_judge(judge: JudgeConfig, config: ReasoningRmConfig, key: str) -> None:
    own = f"{key}.judge"
    _word(f"{own}.prompt", judge.prompt, ("plain", "chat"))
    _word(f"{own}.engine.kind", judge.engine.kind, tuple(ENGINES))
    _word(f"{own}.engine.dtype", judge.engine.dtype, ("float32", "bfloat16", "float16", "auto"))
    sampling, engine = judge.sampling, judge.engine
    _require(sampling.temperature >= 0, f"{own}.sampling.temperature", sampling.temperature, "must be 0 or more")
    _require(0 < sampling.top_p <= 1, f"{own}.sampling.top_p", sampling.top_p, "must be above 0 and at most 1")
    _require(
        sampling.max_new_tokens >= 1, f"{own}.sampling.max_new_tokens", sampling.max_new_tokens, "must be 1 or more"
    )
    gpus = config.pool.gpus_per_worker
    if is_remote(engine):
        _check_server(judge, own)
        right = f"must be 0 where {own}.engine.kind={engine.kind}: its actors are clients"
        _require(gpus == 0, f"{key}.pool.gpus_per_worker", gpus, right)
        return
    least = sampling.max_new_tokens + _JUDGE_ROOM
    right = f"must be {least} or more: {own}.sampling.max_new_tokens and {_JUDGE_ROOM} for instructions and problem"
    _require(engine.max_model_len >= least, f"{own}.engine.max_model_len", engine.max_model_len, right)
    size = engine.tensor_parallel_size
    if gpus == 0:
        _require(size == 1, f"{own}.engine.tensor_parallel_size", size, f"must be 1 where {key}.pool.gpus_per_worker=0")
    else:
        right = f"must be {own}.engine.tensor_parallel_size={size}, or a fraction below 1"
        _require(gpus == size or (gpus < 1 and size == 1), f"{key}.pool.gpus_per_worker", gpus, right)


def _check_server(judge: JudgeConfig, own: str) -> None:
    remote = judge.remote
    _word(f"{own}.remote.api", remote.api, ("completions", "chat"))
    right = "must be the address of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1"
    _require(remote.base_url.startswith(_WEB), f"{own}.remote.base_url", remote.base_url, right)
    _require(bool(remote.model), f"{own}.remote.model", remote.model, "must be what the server calls the model")
    _require(remote.concurrency >= 1, f"{own}.remote.concurrency", remote.concurrency, "must be 1 or more")
    _require(remote.timeout_s > 0, f"{own}.remote.timeout_s", remote.timeout_s, "must be above 0")
    _require(remote.retries >= 0, f"{own}.remote.retries", remote.retries, "must be 0 or more")


def _word(key: str, value: str, words: tuple[str, ...]) -> None:
    _require(value in words, key, value, f"must be {' or '.join(words)}")


def _require(holds: bool, key: str, value: object, right: str) -> None:
    if not holds:
        raise ConfigError(key, value, right)
