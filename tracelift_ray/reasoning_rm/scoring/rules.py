"""Rules across the settings of scorers: what a scoring service and a judge each need. No file is opened."""

from __future__ import annotations

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.models import SERVER, SERVICE, JudgeConfig, PoolConfig, ScoringServiceConfig
from tracelift_ray.engines.kinds import check_extra, is_remote

#: Beside its own tokens a judge's prompt holds instructions and the rubric.
_JUDGE_ROOM = 1024


def check_service(service: ScoringServiceConfig, pool: PoolConfig, key: str) -> None:
    """Raises ConfigError for settings of a service that do not fit its pool. ``key``: of the scorer, for messages."""
    own = f"{key}.remote"
    _require(bool(service.url), f"{own}.url", service.url, SERVICE.right)
    deadline = pool.deadline_s
    right = (
        f"must be below {key}.pool.deadline_s={deadline:g}, so that the reason is known before the actor is given up"
    )
    _require(service.deadline_s < deadline, f"{own}.deadline_s", service.deadline_s, right)
    _check_client(pool, key, f"{key}.backend=remote")


def check_judge(judge: JudgeConfig, pool: PoolConfig, key: str) -> None:
    """Raises ConfigError for settings of a judge that do not fit each other or its pool."""
    own = f"{key}.judge"
    sampling, engine = judge.sampling, judge.engine
    check_extra(engine, own)
    if is_remote(engine):
        remote = judge.remote
        _require(bool(remote.base_url), f"{own}.remote.base_url", remote.base_url, SERVER.right)
        _require(bool(remote.model), f"{own}.remote.model", remote.model, "must be what the server calls the model")
        _check_client(pool, key, f"{own}.engine.kind={engine.kind}")
        return
    least = sampling.max_new_tokens + _JUDGE_ROOM
    right = f"must be {least} or more: {own}.sampling.max_new_tokens and {_JUDGE_ROOM} for instructions and problem"
    _require(engine.max_model_len >= least, f"{own}.engine.max_model_len", engine.max_model_len, right)
    gpus, size = pool.gpus_per_worker, engine.tensor_parallel_size
    if gpus == 0:
        _require(size == 1, f"{own}.engine.tensor_parallel_size", size, f"must be 1 where {key}.pool.gpus_per_worker=0")
    else:
        right = f"must be {own}.engine.tensor_parallel_size={size}, or a fraction below 1"
        _require(gpus == size or (gpus < 1 and size == 1), f"{key}.pool.gpus_per_worker", gpus, right)


def _check_client(pool: PoolConfig, key: str, where: str) -> None:
    gpus = pool.gpus_per_worker
    _require(gpus == 0, f"{key}.pool.gpus_per_worker", gpus, f"must be 0 where {where}: its actors are clients")


def _require(holds: bool, key: str, value: object, right: str) -> None:
    if not holds:
        raise ConfigError(key, value, right)
