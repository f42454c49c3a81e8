"""Rules that a type cannot say: fields that must fit each other. Choices and ranges are in ``config/schema.py``.

``check_run`` raises ``ConfigError`` at the first broken rule. It looks at names and sizes of files, opens none, and
imports nothing heavy, so that a wrong configuration is refused at once, before any actor starts.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.schema import SERVER, ExecutorConfig, PlannerConfig, RunConfig, SandboxConfig
from tracelift_ray.planning.files import check_data, check_models, check_run_dir
from tracelift_ray.planning.resources import check_declared_resources
from tracelift_ray.planning.scoring import check_reasoning_rm
from tracelift_ray.reward.needs import reward_needs


def check_run(config: RunConfig) -> None:
    """Check every rule.

    Raises:
        ConfigError: the first rule that does not hold.
    """
    _check_batch(config)
    _check_planner(config.planner)
    _check_context("planner", config.planner)
    if config.executor.engine.kind == "openai":
        _check_remote(config.executor)
    else:
        _check_context("executor", config.executor)
    _check_reward(config)
    if reward_needs(config.reward).rubric:
        check_reasoning_rm(config.reasoning_rm)
    _check_stream(config)
    _check_devices(config)
    check_sandbox(config.sandbox)
    check_declared_resources(config)
    check_run_dir(config)
    check_data(config.data)
    check_models(config)


def _check_batch(config: RunConfig) -> None:
    algorithm, ranks = config.algorithm, config.learner.num_workers
    if algorithm.advantage == "group" and algorithm.group_size < 2:
        right = "must be 2 or more; the advantage compares the traces of a group"
        raise ConfigError("algorithm.group_size", algorithm.group_size, right)
    traces = algorithm.groups_per_step * algorithm.group_size
    if traces < ranks:
        right = (
            f"must be at most {traces}, the traces of a batch (algorithm.groups_per_step={algorithm.groups_per_step} "
            f"x algorithm.group_size={algorithm.group_size}); every rank needs one"
        )
        raise ConfigError("learner.num_workers", ranks, right)
    if config.stream.min_traces > algorithm.group_size:
        right = f"must be at most algorithm.group_size={algorithm.group_size}, or every group fails"
        raise ConfigError("stream.min_traces", config.stream.min_traces, right)


def _check_planner(planner: PlannerConfig) -> None:
    if planner.engine.kind == "openai":
        raise ConfigError("planner.engine.kind", planner.engine.kind, "must be vllm or transformers: it is trained")
    if planner.sampling.temperature == 0:
        right = "must be above 0: the traces of a group must differ"
        raise ConfigError("planner.sampling.temperature", planner.sampling.temperature, right)


def _check_context(pool: str, model: PlannerConfig | ExecutorConfig) -> None:
    needed = model.max_prompt_tokens + model.sampling.max_new_tokens
    if model.engine.max_model_len < needed:
        right = (
            f"must be {needed} or more: {pool}.max_prompt_tokens={model.max_prompt_tokens} "
            f"+ {pool}.sampling.max_new_tokens={model.sampling.max_new_tokens}"
        )
        raise ConfigError(f"{pool}.engine.max_model_len", model.engine.max_model_len, right)


def _check_remote(executor: ExecutorConfig) -> None:
    remote = executor.remote
    if not remote.base_url:
        raise ConfigError("executor.remote.base_url", remote.base_url, SERVER.right)
    if not remote.model:
        raise ConfigError("executor.remote.model", remote.model, "must be what the server calls the model")


def _check_reward(config: RunConfig) -> None:
    reward = config.reward
    for successes, coefficient in reward.tie_table.items():
        key = f"reward.tie_table.{successes}"
        if not 0 <= successes <= reward.num_samples:
            right = f"counts successes of reward.num_samples={reward.num_samples}, so 0 to {reward.num_samples}"
            raise ConfigError(key, coefficient, right)
    if reward.baseline == "cached" and not reward.baseline_cache:
        right = "must be a directory, because reward.baseline=cached"
        raise ConfigError("reward.baseline_cache", reward.baseline_cache, right)
    greedy = config.executor.sampling.temperature == 0
    if greedy and reward.num_samples > 1 and reward.arm in ("tracelift", "uplift_only"):
        right = f"must be above 0, because reward.num_samples={reward.num_samples} greedy samples are all the same"
        raise ConfigError("executor.sampling.temperature", 0, right)


def _check_stream(config: RunConfig) -> None:
    stream, pool = config.stream, config.planner.pool
    if stream.weight_transfer == "shared_memory" and config.cluster.address != "local" and _spread(config):
        right = "must be nccl on a cluster where learner and planner have GPUs; shared memory does not leave a machine"
        raise ConfigError("stream.weight_transfer", stream.weight_transfer, right)
    if stream.weight_transfer != "shared_memory":
        needs = f"must be above 0, because stream.weight_transfer={stream.weight_transfer} is between GPUs"
        for key, gpus in (
            ("planner.pool.gpus_per_worker", pool.gpus_per_worker),
            ("learner.gpus_per_worker", config.learner.gpus_per_worker),
        ):
            if gpus == 0:
                raise ConfigError(key, gpus, f"{needs}; or use stream.weight_transfer=shared_memory")


def _spread(config: RunConfig) -> bool:
    return config.planner.pool.gpus_per_worker > 0 and config.learner.gpus_per_worker > 0


def _check_devices(config: RunConfig) -> None:
    learner = config.learner
    if learner.collective == "nccl" and learner.gpus_per_worker == 0:
        right = "must be gloo where learner.gpus_per_worker=0; or use learner=gpu"
        raise ConfigError("learner.collective", learner.collective, right)
    if learner.collective == "gloo" and learner.dtype != "float32":
        right = "must be float32 with learner.collective=gloo: on CPUs other types do not agree with the engine"
        raise ConfigError("learner.dtype", learner.dtype, right)
    for pool, engine, gpus in (
        ("planner", config.planner.engine, config.planner.pool.gpus_per_worker),
        ("executor", config.executor.engine, config.executor.pool.gpus_per_worker),
    ):
        if engine.kind == "openai":
            continue
        if gpus > 0 and not math.isclose(gpus, engine.tensor_parallel_size) and not _fraction(gpus, engine):
            right = f"must be {pool}.engine.tensor_parallel_size={engine.tensor_parallel_size}, or a fraction below 1"
            raise ConfigError(f"{pool}.pool.gpus_per_worker", gpus, right)
        if gpus == 0 and engine.tensor_parallel_size > 1:
            right = f"must be 1 where {pool}.pool.gpus_per_worker=0"
            raise ConfigError(f"{pool}.engine.tensor_parallel_size", engine.tensor_parallel_size, right)
    if config.planner.pool.gpus_per_worker == 0 and config.planner.engine.dtype != "float32":
        right = (
            "must be float32 where planner.pool.gpus_per_worker=0: other types on CPUs do not agree with the learner"
        )
        raise ConfigError("planner.engine.dtype", config.planner.engine.dtype, right)


def check_sandbox(sandbox: SandboxConfig) -> None:
    """Check a sandbox by itself. Raises ConfigError for the first rule that does not hold."""
    if sandbox.wall_s < sandbox.cpu_s:
        right = f"must be sandbox.cpu_s={sandbox.cpu_s:g} or more: CPU time takes at least as long on the clock"
        raise ConfigError("sandbox.wall_s", sandbox.wall_s, right)
    if sandbox.packages and not Path(sandbox.packages).is_dir():
        raise ConfigError("sandbox.packages", sandbox.packages, "is no folder; give one made by pip install --target")


def _fraction(gpus: float, engine: Any) -> bool:
    return gpus < 1 and engine.tensor_parallel_size == 1
