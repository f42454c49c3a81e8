"""Rules that a single type cannot say: allowed words, ranges, and fields that must fit each other.

``check_run`` raises ``ConfigError`` at the first broken rule. It looks at names and sizes of files, opens none, and
imports nothing heavy, so that a wrong configuration is refused at once, before any actor starts.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.schema import ExecutorConfig, PlannerConfig, RunConfig, SandboxConfig
from tracelift_ray.engines.kinds import ENGINES, engine_kind, is_remote, training_kinds
from tracelift_ray.planning.files import check_data, check_models, check_run_dir
from tracelift_ray.planning.resources import check_declared_resources
from tracelift_ray.planning.scoring import BACKENDS, check_reasoning_rm
from tracelift_ray.reward.needs import reward_needs
from tracelift_ray.transfer.kinds import TRANSFERS
from tracelift_ray.verification.runners import RUNNERS
from tracelift_ray.verification.sandbox.tiers import RENAMED_TIERS, TIERS

#: Allowed words of the fields that take one of a few.
CHOICES: dict[str, tuple[str, ...]] = {
    "planner.prompt": ("plain", "chat", "demo"),
    "planner.engine.kind": tuple(ENGINES),
    "planner.engine.dtype": ("float32", "bfloat16", "float16", "auto"),
    "executor.prompt": ("plain", "chat", "demo"),
    "executor.engine.kind": tuple(ENGINES),
    "executor.engine.dtype": ("float32", "bfloat16", "float16", "auto"),
    "executor.remote.api": ("completions", "chat"),
    "sandbox.runner": tuple(RUNNERS),
    "sandbox.tier": ("auto", *TIERS),
    "reasoning_rm.backend": BACKENDS,
    "reasoning_rm.dtype": ("float32", "bfloat16", "float16"),
    "learner.collective": ("gloo", "nccl"),
    "learner.layout": ("padded", "packed"),
    "learner.dtype": ("float32", "bfloat16"),
    "learner.schedule": ("constant", "linear", "cosine"),
    "reward.arm": ("tracelift", "exec_only", "rm_only", "uplift_only"),
    "reward.e2e": ("fresh", "mean"),
    "reward.execution_style": ("binary", "pass_rate", "coderl", "hybrid"),
    "reward.baseline": ("per_group", "cached"),
    "reward.malformed": ("floor", "whole_text"),
    "reward.overlong": ("train", "mask"),
    "reward.leak": ("report", "mask"),
    "algorithm.advantage": ("group",),
    "algorithm.advantage_std": ("population", "sample", "none"),
    "algorithm.kl_kind": ("k1", "k2", "k3"),
    "algorithm.normalisation": ("token", "sequence", "constant"),
    "data.format": ("auto", "problems", "gsm8k", "mbpp", "humaneval", "math500", "groups"),
    "data.on_error": ("strict", "skip"),
    "data.check_solutions": ("off", "report", "drop"),
    "stream.weight_transfer": tuple(TRANSFERS),
    "tracking.wandb": ("auto", "online", "offline", "disabled"),
}
POOLS = ("planner", "executor", "verifier", "reasoning_rm")
_ABOVE_0 = """
    planner.sampling.temperature planner.engine.kv_cache_gib planner.engine.startup_s executor.engine.kv_cache_gib
    executor.engine.startup_s executor.remote.timeout_s sandbox.cpu_s sandbox.wall_s verifier.math_timeout_s
    learner.update_deadline_s learner.startup_s stream.broadcast_deadline_s stream.group_deadline_s
    cluster.placement_timeout_s
"""
_AT_LEAST_1 = """
    total_steps planner.max_prompt_tokens planner.sampling.max_new_tokens planner.engine.max_model_len
    planner.engine.tensor_parallel_size planner.engine.max_num_seqs executor.max_prompt_tokens
    executor.sampling.max_new_tokens executor.engine.max_model_len executor.engine.tensor_parallel_size
    executor.engine.max_num_seqs executor.remote.concurrency sandbox.output_kib sandbox.file_mib sandbox.threads
    reasoning_rm.max_length
    reasoning_rm.max_batch_tokens learner.num_workers learner.micro_batch_tokens learner.keep_checkpoints
    reward.num_samples algorithm.groups_per_step algorithm.group_size algorithm.constant_length
    algorithm.updates_per_batch data.max_problem_chars data.max_trace_chars data.max_tests stream.min_traces
    stream.bucket_mib evaluation.num_samples
"""
_AT_LEAST_0 = """
    seed executor.sampling.temperature executor.remote.retries learner.cpus_per_worker learner.gpus_per_worker
    learner.lr learner.weight_decay learner.warmup_steps learner.grad_clip learner.save_every
    reward.math_execution_weight reward.math_grounded_weight reward.code_grounded_weight algorithm.advantage_eps
    algorithm.min_std algorithm.std_floor algorithm.clip_low algorithm.clip_high algorithm.mismatch_cap
    algorithm.kl_coef data.limit stream.max_staleness stream.max_refills stream.max_failed_groups
    tracking.table_every tracking.table_rows cluster.num_cpus cluster.num_gpus evaluation.every evaluation.problems
"""
_SHARES = """
    planner.sampling.top_p executor.sampling.top_p planner.engine.gpu_memory_utilization
    executor.engine.gpu_memory_utilization
"""
Rule = tuple[Callable[[Any], bool], str]


def _ranges() -> dict[str, Rule]:
    """The range of every number, by dotted key."""
    rules: dict[str, Rule] = {}
    for keys, holds, words in (
        (_ABOVE_0, lambda value: value > 0, "must be above 0"),
        (_AT_LEAST_1, lambda value: value >= 1, "must be 1 or more"),
        (_AT_LEAST_0, lambda value: value >= 0, "must be 0 or more"),
        (_SHARES, lambda value: 0 < value <= 1, "must be above 0 and at most 1"),
    ):
        rules |= dict.fromkeys(keys.split(), (holds, words))
    for pool in POOLS:
        rules[f"{pool}.pool.workers"] = rules[f"{pool}.pool.max_concurrency"] = rules["total_steps"]
        rules[f"{pool}.pool.deadline_s"] = rules["sandbox.cpu_s"]
        for field in ("cpus_per_worker", "gpus_per_worker", "retries"):
            rules[f"{pool}.pool.{field}"] = rules["seed"]
    rules["sandbox.memory_mib"] = (lambda value: value >= 64, "must be 64 or more; Python alone needs that much")
    rules["sandbox.max_files"] = (lambda value: value >= 16, "must be 16 or more; Python alone needs some")
    rules["sandbox.slots"] = (lambda value: value is None or value >= 1, "must be 1 or more, or null for one per CPU")
    rules["learner.zero_stage"] = (lambda value: 0 <= value <= 3, "must be 0, 1, 2 or 3")
    rules["learner.betas"] = (lambda betas: all(0 <= beta < 1 for beta in betas), "must be two numbers in [0, 1)")
    rules["reward.clip_max"] = (lambda value: value is None or value > 0, "must be above 0, or null for 1 + weight")
    rules["reward.cached_samples"] = (lambda value: value >= 16, "must be 16 or more; a frozen small draw is biased")
    rules["algorithm.clip_low"] = (lambda value: 0 <= value < 1, "must be in [0, 1)")
    rules["data.heldout_fraction"] = (lambda value: 0 < value < 1, "must be above 0 and below 1")
    rules["cluster.object_store_mib"] = (lambda value: value >= 80, "must be 80 or more; Ray refuses less")
    return rules


RANGES = _ranges()


def check_run(config: RunConfig) -> None:
    """Check every rule.

    Raises:
        ConfigError: the first rule that does not hold.
    """
    _check_values(config)
    _check_batch(config)
    _check_context("planner", config.planner)
    if is_remote(config.executor.engine):
        _check_remote(config.executor)
    else:
        _check_context("executor", config.executor)
    _check_reward(config)
    if reward_needs(config.reward).rubric:
        check_reasoning_rm(config.reasoning_rm)
    _check_planner_engine(config)
    _check_transfer(config)
    _check_devices(config)
    check_sandbox(config.sandbox)
    check_declared_resources(config)
    check_run_dir(config)
    check_data(config.data)
    check_models(config)


def _check_values(config: Any, part: str = "") -> None:
    """Words and ranges of the fields whose dotted key starts with ``part``."""
    for key, words in CHOICES.items():
        if key.startswith(part) and (value := operator.attrgetter(key)(config)) not in words:
            raise ConfigError(key, value, f"must be {' or '.join(words)}")
    for key, (holds, right) in RANGES.items():
        if key.startswith(part) and not holds(value := operator.attrgetter(key)(config)):
            raise ConfigError(key, value, right)


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
    if not remote.base_url.startswith(("http://", "https://")):
        right = "must be the address of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1"
        raise ConfigError("executor.remote.base_url", remote.base_url, right)
    if not remote.model:
        raise ConfigError("executor.remote.model", remote.model, "must be what the server calls the model")


def _check_reward(config: RunConfig) -> None:
    reward = config.reward
    for successes, coefficient in reward.tie_table.items():
        key = f"reward.tie_table.{successes}"
        if not 0 <= successes <= reward.num_samples:
            right = f"counts successes of reward.num_samples={reward.num_samples}, so 0 to {reward.num_samples}"
            raise ConfigError(key, coefficient, right)
        if not 0 <= coefficient <= 1:
            raise ConfigError(key, coefficient, "must be in [0, 1]")
    if reward.baseline == "cached" and not reward.baseline_cache:
        right = "must be a directory, because reward.baseline=cached"
        raise ConfigError("reward.baseline_cache", reward.baseline_cache, right)
    greedy = config.executor.sampling.temperature == 0
    if greedy and reward.num_samples > 1 and reward.arm in ("tracelift", "uplift_only"):
        right = f"must be above 0, because reward.num_samples={reward.num_samples} greedy samples are all the same"
        raise ConfigError("executor.sampling.temperature", 0, right)


def _check_planner_engine(config: RunConfig) -> None:
    """The planner's engine must be able to serve the policy that is trained, with weights that come as configured."""
    kind, transfer = engine_kind(config.planner.engine), config.stream.weight_transfer
    if not kind.trains:
        right = f"cannot serve the policy that is trained; use {' or '.join(training_kinds())}"
        raise ConfigError("planner.engine.kind", config.planner.engine.kind, right)
    if transfer not in kind.transfers:
        right = (
            f"must be {' or '.join(kind.transfers)}: an engine of planner.engine.kind={config.planner.engine.kind} "
            "takes weights in no other way"
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
    if transfer.shared_gpus and sum(gpus.values()) > 1:
        right = (
            f"must leave room for a learner rank on the same GPU, because stream.weight_transfer={name} needs one there"
        )
        raise ConfigError("planner.pool.gpus_per_worker", config.planner.pool.gpus_per_worker, right)


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
        if gpus == 0 and engine.tensor_parallel_size > 1:
            right = f"must be 1 where {pool}.pool.gpus_per_worker=0"
            raise ConfigError(f"{pool}.engine.tensor_parallel_size", engine.tensor_parallel_size, right)
    if config.planner.pool.gpus_per_worker == 0 and config.planner.engine.dtype != "float32":
        right = (
            "must be float32 where planner.pool.gpus_per_worker=0: other types on CPUs do not agree with the learner"
        )
        raise ConfigError("planner.engine.dtype", config.planner.engine.dtype, right)


def check_sandbox(sandbox: SandboxConfig) -> None:
    """Check the rules of a sandbox by itself. Raises ConfigError for the first that does not hold."""
    if sandbox.tier in RENAMED_TIERS:
        raise ConfigError("sandbox.tier", sandbox.tier, f"is called {RENAMED_TIERS[sandbox.tier]} now")
    _check_values(SimpleNamespace(sandbox=sandbox), "sandbox.")
    if not RUNNERS[sandbox.runner].local:
        _check_code_service(sandbox)
    if sandbox.wall_s < sandbox.cpu_s:
        right = f"must be sandbox.cpu_s={sandbox.cpu_s:g} or more: CPU time takes at least as long on the clock"
        raise ConfigError("sandbox.wall_s", sandbox.wall_s, right)
    if any(core < 0 for core in sandbox.cores):
        raise ConfigError("sandbox.cores", list(sandbox.cores), "must be numbers of cores, 0 or more")
    if sandbox.packages and not Path(sandbox.packages).is_dir():
        raise ConfigError("sandbox.packages", sandbox.packages, "is no folder; give one made by pip install --target")


def _check_code_service(sandbox: SandboxConfig) -> None:
    service = sandbox.service
    if service is None:
        right = f"is needed where sandbox.runner={sandbox.runner}; use sandbox=sandbox_fusion"
        raise ConfigError("sandbox.service", None, right)
    if not service.url.startswith(("http://", "https://")):
        right = "must be the address of a service without /run_code, such as http://127.0.0.1:8080"
        raise ConfigError("sandbox.service.url", service.url, right)
    for field, least in (("concurrency", 1), ("retries", 0)):
        if getattr(service, field) < least:
            raise ConfigError(f"sandbox.service.{field}", getattr(service, field), f"must be {least} or more")
    if service.timeout_s <= 0:
        raise ConfigError("sandbox.service.timeout_s", service.timeout_s, "must be above 0")


def _fraction(gpus: float, engine: Any) -> bool:
    return gpus < 1 and engine.tensor_parallel_size == 1
