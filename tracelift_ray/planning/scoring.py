"""Rules of the reasoning RM's backends across fields: what a scoring service and a judge each need.

``check_reasoning_rm`` looks at one ``ReasoningRmConfig``, in a run or in the scoring service, and opens no file.
"""

from __future__ import annotations

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.schema import SERVER, SERVICE, JudgeConfig, ReasoningRmConfig, ScoringServiceConfig
from tracelift_ray.engines.kinds import is_remote

#: Beside its own tokens a judge's prompt holds instructions and the rubric.
_JUDGE_ROOM = 1024


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


def _check_service(service: ScoringServiceConfig, config: ReasoningRmConfig, key: str) -> None:
    own = f"{key}.remote"
    _require(bool(service.url), f"{own}.url", service.url, SERVICE.right)
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
    sampling, engine = judge.sampling, judge.engine
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
    _require(bool(remote.base_url), f"{own}.remote.base_url", remote.base_url, SERVER.right)
    _require(bool(remote.model), f"{own}.remote.model", remote.model, "must be what the server calls the model")


def _require(holds: bool, key: str, value: object, right: str) -> None:
    if not holds:
        raise ConfigError(key, value, right)
