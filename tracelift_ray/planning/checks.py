"""Rules that a type cannot say: fields that must fit each other. Choices and ranges are in ``config/schema.py``.

``check_run`` raises ``ConfigError`` at the first broken rule. It reads no more than the first bytes of files, and
imports nothing heavy, so that a wrong configuration is refused at once, before any actor starts.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.models import SERVER, ExecutorConfig, PlannerConfig
from tracelift_ray.config.schema import DataConfig, LearnerConfig, RunConfig, SandboxConfig
from tracelift_ray.data.gym import is_endless
from tracelift_ray.data.readings import check_reading
from tracelift_ray.engines.kinds import adapter_obstacle, check_extra, engine_kind, is_remote, training_kinds
from tracelift_ray.planning.algorithm_checks import check_algorithm
from tracelift_ray.planning.colocation import sleeping_pools
from tracelift_ray.planning.files import check_data, check_models, check_run_dir
from tracelift_ray.planning.placement import PlacementError, placed
from tracelift_ray.planning.resources import check_declared_resources, demands, local_resources
from tracelift_ray.reasoning_rm.scoring.kinds import check_reasoning_rm
from tracelift_ray.reward.arms import ARMS, requirements
from tracelift_ray.transfer.kinds import TRANSFERS, at_engine
from tracelift_ray.verification.runners import RUNNERS


def check_run(config: RunConfig, *, trains: bool = True, files: bool = True) -> None:
    """Check every rule; ``trains`` and ``files`` say whether those of training, and of what it names, count, too.

    Raises:
        ConfigError: the first rule that does not hold.
    """
    check_algorithm(config)
    _check_batch(config)
    _check_sampling(config)
    _check_context("planner", config.planner)
    if is_remote(config.executor.engine):
        _check_remote(config.executor)
    else:
        _check_context("executor", config.executor)
    _check_reward(config)
    if requirements(config.reward).rubric:
        check_reasoning_rm(config.reasoning_rm)
    _check_readings(config.data)
    _check_curriculum(config)
    _check_seeds(config)
    _check_patterns(config)
    _check_planner_engine(config)
    _check_transfer(config)
    _check_encoding(config)
    _check_devices(config)
    _check_offload(config.learner)
    _check_sequence(config.learner)
    _check_adapter(config)
    check_sandbox(config.sandbox)
    check_declared_resources(config)
    _check_placement(config)
    _check_turns(config)
    if files:
        check_run_dir(config, trains=trains)
        check_data(config.data)
        check_models(config)
    for owner, engine in (("planner", config.planner.engine), ("executor", config.executor.engine)):
        check_extra(engine, owner)


def _check_batch(config: RunConfig) -> None:
    algorithm, learner = config.algorithm, config.learner
    traces = algorithm.groups_per_step * algorithm.group_size
    if traces < learner.num_workers // learner.sequence_parallel:
        right = (
            f"must be at most {traces}, the traces of a batch (algorithm.groups_per_step={algorithm.groups_per_step} "
            f"x algorithm.group_size={algorithm.group_size}); every rank needs one"
        )
        raise ConfigError("learner.num_workers", learner.num_workers, right)
    if config.stream.min_traces > algorithm.group_size:
        right = f"must be at most algorithm.group_size={algorithm.group_size}, or every group fails"
        raise ConfigError("stream.min_traces", config.stream.min_traces, right)


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
            right = f"its key counts successes, so it must be from 0 to reward.num_samples={reward.num_samples}"
            raise ConfigError(key, coefficient, right)
    if reward.baseline == "cached" and not reward.baseline_cache:
        right = "must be a directory, because reward.baseline=cached"
        raise ConfigError("reward.baseline_cache", reward.baseline_cache, right)
    if reward.baseline == "pooled" and reward.baseline_samples > reward.cached_samples:
        right = f"must be at most reward.cached_samples={reward.cached_samples}, where a pooled baseline stops growing"
        raise ConfigError("reward.baseline_samples", reward.baseline_samples, right)
    ARMS[reward.arm].options(reward)


def _check_readings(data: DataConfig) -> None:
    """What a source says of how it is read must be settings."""
    for key, sources in (("data.train", data.train), ("data.heldout", data.heldout)):
        for source in sources:
            check_reading(key, source)


def _check_curriculum(config: RunConfig) -> None:
    """What is left out must be measured, and come again."""
    data, curriculum = config.data, config.data.curriculum
    if not curriculum.enabled:
        return
    obstacle = ""
    if not requirements(config.reward).baseline:
        obstacle = f"reward.arm={config.reward.arm} draws no samples without a trace, which say what to leave out"
    elif data.train and all(is_endless(source, data.limit) for source in data.train):
        obstacle = "a generator gives no problem twice, so none is left out later; ?size=N draws from N problems"
    if obstacle:
        raise ConfigError("data.curriculum.enabled", True, f"must be false: {obstacle}")
    easy, hard = curriculum.easy_threshold, curriculum.hard_threshold
    if easy is not None and hard is not None and easy <= hard:
        right = f"must be above data.curriculum.hard_threshold={hard:g}, or every problem is left out"
        raise ConfigError("data.curriculum.easy_threshold", easy, right)


def _check_sampling(config: RunConfig) -> None:
    required, executor = requirements(config.reward), config.executor.sampling
    if config.planner.sampling.temperature == 0:
        right = "must be above 0, or the traces of a group are all the same"
        raise ConfigError("planner.sampling.temperature", config.planner.sampling.temperature, right)
    if executor.temperature == 0 and required.with_trace > 1 and required.baseline:
        drawn = f"reward.num_samples={config.reward.num_samples}, reward.e2e={config.reward.e2e}"
        right = f"must be above 0, because {required.with_trace} greedy samples ({drawn}) are all the same"
        raise ConfigError("executor.sampling.temperature", executor.temperature, right)


def _check_patterns(config: RunConfig) -> None:
    if config.executor.stop_when_answered and not engine_kind(config.executor.engine).patterns:
        kind = f"executor.engine.kind={config.executor.engine.kind}"
        right = f"must be false: an engine of {kind} ends samples at the prompt's stop strings only"
        raise ConfigError("executor.stop_when_answered", True, right)


def _check_seeds(config: RunConfig) -> None:
    for pool, model in (("planner", config.planner), ("executor", config.executor)):
        if model.sampling.seeded and not engine_kind(model.engine).request_seeds:
            right = f"must be false: an engine of {pool}.engine.kind={model.engine.kind} cannot seed single requests"
            raise ConfigError(f"{pool}.sampling.seeded", True, right)


def _check_planner_engine(config: RunConfig) -> None:
    """The planner's engine must be able to serve the policy that is trained, with weights that come as configured."""
    kind, transfer = engine_kind(config.planner.engine), config.stream.weight_transfer
    if not kind.trains:
        right = f"cannot serve the policy that is trained; use {' or '.join(training_kinds())}"
        raise ConfigError("planner.engine.kind", config.planner.engine.kind, right)
    if at_engine(transfer) not in kind.transfers:
        possible = " or ".join(name for name in TRANSFERS if at_engine(name) in kind.transfers)
        right = (
            f"must be {possible}: an engine of planner.engine.kind={config.planner.engine.kind} takes weights in no "
            "other way"
        )
        raise ConfigError("stream.weight_transfer", transfer, right)


def _check_transfer(config: RunConfig) -> None:
    """Learner and planner must be where the weight transfer can reach them."""
    name = config.stream.weight_transfer
    transfer, cluster = TRANSFERS[name], config.cluster.address != "local"
    gpus = {
        "planner.pool.gpus_per_worker": config.planner.pool.gpus_per_worker,
        "learner.gpus_per_worker": config.learner.gpus_per_worker,
    }
    if transfer.one_machine and cluster and all(gpus.values()):
        far = [other for other, kind in TRANSFERS.items() if not (kind.one_machine or kind.shared_gpus)]
        right = (
            f"must be {' or '.join(far)} on a cluster where learner and planner have GPUs; {name} is for one machine"
        )
        raise ConfigError("stream.weight_transfer", name, right)
    for key, amount in gpus.items():
        if transfer.gpus and amount == 0:
            without = " or ".join(other for other, kind in TRANSFERS.items() if not kind.gpus)
            right = (
                f"must be above 0, because stream.weight_transfer={name} is between GPUs; or use "
                f"stream.weight_transfer={without}"
            )
            raise ConfigError(key, amount, right)
    if transfer.collective and config.learner.collective == "nccl" and not gpus["planner.pool.gpus_per_worker"]:
        right = "must be above 0 where weights go over learner.collective=nccl, which is between GPUs"
        raise ConfigError("planner.pool.gpus_per_worker", 0.0, right)
    share = config.cluster.share_gpus
    if transfer.shared_gpus and not any({"planner", "learner"} <= set(pools) for pools in share):
        right = (
            f"must have planner and learner on the same GPUs for stream.weight_transfer={name}: [[planner, learner]]"
        )
        raise ConfigError("cluster.share_gpus", [list(pools) for pools in share], right)


def _check_encoding(config: RunConfig) -> None:
    """Changes must be few, and carried."""
    stream, learner = config.stream, config.learner
    if not stream.sends_changes:
        return
    obstacle = ""
    if not TRANSFERS[stream.weight_transfer].deltas:
        obstacle = f"stream.weight_transfer={stream.weight_transfer} carries whole versions alone"
    elif learner.dtype == "float32":
        obstacle = "with learner.dtype=float32 nearly every weight changes in a step"
    elif learner.sent_adapter is not None:
        obstacle = "adapters alone are sent (learner.lora.transfer), which are small, and change as a whole"
    if obstacle:
        raise ConfigError("stream.weight_encoding", stream.weight_encoding, f"must be full: {obstacle}")


def _check_adapter(config: RunConfig) -> None:
    """The planner's engine must be able to take what the learner sends of its adapters."""
    sent = config.learner.sent_adapter
    if sent is None:
        return
    obstacle = adapter_obstacle(config.planner.engine, at_engine(config.stream.weight_transfer), sent)
    if obstacle:
        raise ConfigError("learner.lora.transfer", sent.transfer, f"must be merged: {obstacle}")


def _check_placement(config: RunConfig) -> None:
    """There must be a place for every worker on this machine; on a cluster that is known once Ray is there."""
    names = {demand.name for demand in demands(config)}
    for pools in config.cluster.share_gpus:
        unknown = sorted(set(pools) - names - {"reasoning_rm"})
        if unknown:
            right = f"names no pool with {unknown[0]}: use planner, executor, reasoning_rm, verifier or learner"
            raise ConfigError("cluster.share_gpus", list(pools), right)
    machines = local_resources(config).machines
    if config.cluster.address == "local" and not config.dry_run and machines:
        try:
            placed(config, machines)
        except PlacementError as error:
            raise ConfigError("cluster", "local", f"cannot hold the pools: {error}") from None


def _check_turns(config: RunConfig) -> None:
    """Pools on the learner's GPUs sleep while it works, so nothing can be generated meanwhile."""
    asleep = sorted(sleeping_pools(config))
    if asleep and config.stream.max_staleness > 0:
        right = (
            f"must be 0 (stream=on_policy) where cluster.share_gpus has {' and '.join(asleep)} on the learner's GPUs: "
            "engines there sleep while it works"
        )
        raise ConfigError("stream.max_staleness", config.stream.max_staleness, right)


def _check_sequence(learner: LearnerConfig) -> None:
    if learner.num_workers % learner.sequence_parallel:
        right = f"must divide learner.num_workers={learner.num_workers}"
        raise ConfigError("learner.sequence_parallel", learner.sequence_parallel, right)
    if learner.sequence_parallel > 1 and learner.layout == "packed":
        right = "must be padded with learner.sequence_parallel above 1: attention is exchanged by whole rows"
        raise ConfigError("learner.layout", learner.layout, right)


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
        if is_remote(engine):
            continue
        if engine.tensor_parallel_size > 1 and not engine_kind(engine).tensor_parallel:
            right = f"must be 1: an engine of kind {engine.kind} does not spread a model over several GPUs"
            raise ConfigError(f"{pool}.engine.tensor_parallel_size", engine.tensor_parallel_size, right)
        if gpus > 0 and not math.isclose(gpus, engine.tensor_parallel_size) and not _fraction(gpus, engine):
            right = f"must be {pool}.engine.tensor_parallel_size={engine.tensor_parallel_size}, or a fraction below 1"
            raise ConfigError(f"{pool}.pool.gpus_per_worker", gpus, right)
    if config.planner.pool.gpus_per_worker == 0 and config.planner.engine.dtype != "float32":
        right = (
            "must be float32 where planner.pool.gpus_per_worker=0: other types on CPUs do not agree with the learner"
        )
        raise ConfigError("planner.engine.dtype", config.planner.engine.dtype, right)


def _check_offload(learner: LearnerConfig) -> None:
    """DeepSpeed moves to the CPU only what ZeRO has divided among the ranks."""
    if learner.offload_optimizer and learner.zero_stage < 1:
        right = f"must be false where learner.zero_stage={learner.zero_stage}; it needs 1, 2 or 3"
        raise ConfigError("learner.offload_optimizer", True, right)
    if learner.offload_parameters and learner.zero_stage < 3:
        right = f"must be false where learner.zero_stage={learner.zero_stage}; it needs 3"
        raise ConfigError("learner.offload_parameters", True, right)


def check_sandbox(sandbox: SandboxConfig) -> None:
    """Check the rules of a sandbox by itself. Raises ConfigError for the first that does not hold."""
    if not RUNNERS[sandbox.runner].local and (sandbox.service is None or not sandbox.service.url):
        key, url = ("sandbox.service", None) if sandbox.service is None else ("sandbox.service.url", "")
        raise ConfigError(key, url, f"is needed where sandbox.runner={sandbox.runner}; use sandbox=sandbox_fusion")
    if sandbox.wall_s < sandbox.cpu_s:
        right = f"must be sandbox.cpu_s={sandbox.cpu_s:g} or more: CPU time takes at least as long on the clock"
        raise ConfigError("sandbox.wall_s", sandbox.wall_s, right)
    if sandbox.packages and not Path(sandbox.packages).is_dir():
        raise ConfigError("sandbox.packages", sandbox.packages, "is no folder; give one made by pip install --target")


def _fraction(gpus: float, engine: Any) -> bool:
    return gpus < 1 and engine.tensor_parallel_size == 1
