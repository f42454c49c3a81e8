"""Every cross-field rule refuses what it should, by the key that is to be changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.configs import reread
from tests.unit.config.composed import compose_config, make_model
from tracelift_ray.config.load import ConfigError
from tracelift_ray.config.schema import CodeServiceConfig, RunConfig
from tracelift_ray.engines.kinds import ENGINES
from tracelift_ray.planning import checks
from tracelift_ray.planning.run_config import to_run_config
from tracelift_ray.reward.arms import ARMS

Changes = dict[str, Any]
GPUS: Changes = {
    "planner.pool.gpus_per_worker": 1.0,
    "learner.gpus_per_worker": 1.0,
    "learner.collective": "nccl",
    "learner.dtype": "bfloat16",
    "stream.weight_transfer": "collective",
    "cluster.num_gpus": 4,
}
ADAPTER: Changes = {"learner.lora.rank": 8, "learner.lora.transfer": "adapter"}
REMOTE: Changes = {"executor.engine.kind": "openai", "executor.remote.base_url": "http://a/v1"}
CURRICULUM: Changes = {"data.curriculum.enabled": True}
IN_RAY_COPY = "/tmp/ray/s/runtime_resources/working_dir_files/p/runs/a"

BROKEN: list[tuple[Changes, str, str]] = [
    ({"sandbox.tier": "userns"}, "sandbox.tier", "is called namespaces now"),
    ({"sandbox.tier": "flat"}, "sandbox.tier", "is called landlock now"),
    ({**ADAPTER, "learner.lora.dora": True}, "learner.lora.transfer", "merged: an engine of kind vllm takes no DoRA"),
    ({**ADAPTER, "learner.lora.rank": 513}, "learner.lora.transfer", "takes adapters up to rank 512"),
    (
        {**ADAPTER, **GPUS, "stream.weight_transfer": "ipc", "cluster.share_gpus": (("planner", "learner"),)},
        "learner.lora.transfer",
        "must be merged: an engine of kind vllm takes adapters by shared_memory or collective",
    ),
    ({"learner.lora.dropout": 1.0}, "learner.lora.dropout", "below 1"),
    ({"stream.canary_bound": -1.0}, "stream.canary_bound", "0 or more, or null"),
    ({"sandbox.runner": "sandbox_fusion"}, "sandbox.service", "sandbox=sandbox_fusion"),
    ({"sandbox.service": CodeServiceConfig("fusion:8080", 1, 1.0, 0)}, "sandbox.service.url", "http://"),
    ({"sandbox.memory_mib": 63}, "sandbox.memory_mib", "64 or more; Python alone"),
    ({"sandbox.slots": 0}, "sandbox.slots", "1 or more, or null"),
    ({"sandbox.wall_s": 1.0}, "sandbox.wall_s", "sandbox.cpu_s=2 or more"),
    ({"sandbox.cores": (0, -1)}, "sandbox.cores[1]", "0 or more"),
    ({"sandbox.packages": "/no/such/folder"}, "sandbox.packages", "no folder"),
    ({"algorithm.group_size": 1}, "algorithm.group_size", "2 or more"),
    ({"algorithm.advantage": "best_of", "algorithm.best_of": 8}, "algorithm.group_size", "9 or more; "),
    (
        {"algorithm.advantage": "gdpo", "algorithm.component_weights": {"exec": 1.0}},
        "algorithm.component_weights.exec",
        "use execution, uplift, rubric",
    ),
    ({"algorithm.component_weights": {"rubric": -1.0}}, "algorithm.component_weights.rubric", "0 or more"),
    ({"algorithm.groups_per_step": 1, "learner.num_workers": 9}, "learner.num_workers", "at most 8"),
    ({"stream.min_traces": 9}, "stream.min_traces", "algorithm.group_size=8"),
    ({"planner.engine.max_model_len": 1535}, "planner.engine.max_model_len", "1536 or more"),
    ({"executor.sampling.max_new_tokens": 513}, "executor.engine.max_model_len", "2049 or more"),
    ({"executor.engine.kind": "openai"}, "executor.remote.base_url", "http://"),
    (REMOTE, "executor.remote.model", "server calls"),
    (
        REMOTE | {"executor.remote.model": "m", "executor.sampling.seeded": False, "executor.stop_when_answered": True},
        "executor.stop_when_answered",
        "must be false",
    ),
    ({"reward.tie_table": {4: 0.5}}, "reward.tie_table.4", "num_samples=3"),
    ({"reward.tie_table": {1: 2.0}}, "reward.tie_table.1", "from 0 to 1"),
    ({"reward.baseline": "cached", "reward.baseline_cache": ""}, "reward.baseline_cache", "directory"),
    (
        {"reward.baseline": "pooled", "reward.baseline_samples": 17},
        "reward.baseline_samples",
        "at most reward.cached_samples=16",
    ),
    (CURRICULUM | {"reward.arm": "exec_only"}, "data.curriculum.enabled", "draws no samples without a trace"),
    (CURRICULUM | {"data.train": ("gym:maze",)}, "data.curriculum.enabled", "a generator gives no problem twice"),
    (
        CURRICULUM | {"data.curriculum.easy_threshold": 0.0},
        "data.curriculum.easy_threshold",
        "above data.curriculum.hard_threshold=0,",
    ),
    (CURRICULUM | {"data.curriculum.easy_threshold": 1.1}, "data.curriculum.easy_threshold", "from 0 to 1"),
    ({"reward.cached_samples": 15}, "reward.cached_samples", "16 or more"),
    ({"executor.sampling.temperature": 0.0}, "executor.sampling.temperature", "greedy"),
    ({"planner.sampling.temperature": 0.0}, "planner.sampling.temperature", "above 0"),
    ({"planner.sampling.top_k": -1}, "planner.sampling.top_k", "0 or more"),
    ({"algorithm.clip_dual": 0.5}, "algorithm.clip_dual", "above 1, or 0"),
    ({"algorithm.clip_low": 1.5}, "algorithm.clip_low", "from 0 to 1"),
    ({"algorithm.correction": "token_masked", "algorithm.correction_low": 1.0}, "algorithm.correction_low", "below 1"),
    (
        {"algorithm.correction": "geometric_rejected", "algorithm.correction_high": 0.9},
        "algorithm.correction_high",
        "above 1",
    ),
    ({"algorithm.correction": "bypass", "algorithm.loss": "reinforce"}, "algorithm.correction", "has no ratio"),
    ({"algorithm.correction": "tis"}, "algorithm.correction", "token_truncated"),
    ({"planner.sampling.top_p": 0.0}, "planner.sampling.top_p", "above 0 and at most 1"),
    ({"learner.offload_optimizer": True}, "learner.offload_optimizer", "needs 1, 2 or 3"),
    ({"learner.sequence_parallel": 2}, "learner.sequence_parallel", "must divide learner.num_workers=1"),
    (
        {"learner.sequence_parallel": 2, "learner.num_workers": 2, "learner.layout": "packed"},
        "learner.layout",
        "must be padded",
    ),
    ({"learner.offload_parameters": True, "learner.zero_stage": 2}, "learner.offload_parameters", "needs 3"),
    ({"learner.zero_stage": 4}, "learner.zero_stage", "0, 1, 2 or 3"),
    ({"data.heldout_fraction": 1.0}, "data.heldout_fraction", "below 1"),
    ({"learner.betas": (0.9, 1.0)}, "learner.betas[1]", "0 or more and below 1"),
    ({"planner.engine.kind": "openai"}, "planner.engine.kind", "use vllm or transformers"),
    (
        GPUS | {"planner.engine.kind": "transformers", "stream.weight_transfer": "ipc"},
        "stream.weight_transfer",
        "must be shared_memory or collective",
    ),
    (
        GPUS | {"executor.engine.kind": "transformers", "executor.engine.tensor_parallel_size": 2},
        "executor.engine.tensor_parallel_size",
        "must be 1: an engine of kind transformers",
    ),
    ({"stream.weight_transfer": "nccl"}, "stream.weight_transfer", "is called collective now"),
    ({"stream.weight_transfer": "ipc"}, "planner.pool.gpus_per_worker", "between GPUs"),
    ({"stream.weight_encoding": "sparse"}, "stream.weight_encoding", "full or delta"),
    ({"stream.weight_encoding": "delta"}, "stream.weight_encoding", "must be full: with learner.dtype=float32"),
    (
        {**GPUS, "cluster.share_gpus": (("planner", "learner"),), "stream.weight_transfer": "ipc"}
        | {"stream.weight_encoding": "delta", "learner.dtype": "bfloat16"},
        "stream.weight_encoding",
        "must be full: stream.weight_transfer=ipc carries whole versions",
    ),
    (
        {**ADAPTER, **GPUS, "stream.weight_encoding": "delta", "learner.dtype": "bfloat16"},
        "stream.weight_encoding",
        "must be full: adapters alone",
    ),
    (GPUS | {"planner.pool.gpus_per_worker": 0.0}, "planner.pool.gpus_per_worker", "learner.collective=nccl"),
    (GPUS | {"stream.weight_transfer": "ipc"}, "cluster.share_gpus", "[[planner, learner]]"),
    (
        GPUS | {"cluster.share_gpus": (("planner", "learner"),), "stream.max_staleness": 2},
        "stream.max_staleness",
        "must be 0 (stream=on_policy) where cluster.share_gpus has planner on the learner's GPUs",
    ),
    ({"cluster.share_gpus": (("planner", "teacher"),)}, "cluster.share_gpus", "no pool with teacher"),
    (
        GPUS | {"cluster.share_gpus": (("planner", "learner"),), "learner.num_workers": 2},
        "cluster",
        "planner 1 x 1 GPU, learner 2 x 1 GPU",
    ),
    (
        GPUS | {"cluster.address": "auto", "stream.weight_transfer": "shared_memory"},
        "stream.weight_transfer",
        "must be collective",
    ),
    ({"learner.collective": "nccl"}, "learner.collective", "gloo"),
    ({"learner.dtype": "bfloat16"}, "learner.dtype", "float32"),
    ({"planner.engine.dtype": "bfloat16"}, "planner.engine.dtype", "float32"),
    (GPUS | {"planner.pool.gpus_per_worker": 2.0}, "planner.pool.gpus_per_worker", "tensor_parallel_size=1"),
    ({"cluster.num_cpus": 2}, "planner.pool.cpus_per_worker", "3 too few"),
    (GPUS | {"cluster.num_gpus": 1}, "planner.pool.gpus_per_worker", "1 too few"),
    ({"reasoning_rm.model": ""}, "reasoning_rm.model", "reward=exec_only"),
    ({"data.train": ()}, "data.train", "must name a file"),
    ({"data.train": ("demo:chess",)}, "data.train", "demo:math"),
    ({"data.heldout": ("missing.jsonl",)}, "data.heldout", "is not there"),
    ({"data.train": ("openai/gsm8k",)}, "data.train", "a data set of the hub is hub:NAME"),
    ({"resume": "missing"}, "resume", "checkpoint"),
    ({"name": ""}, "name", "directory"),
    ({"run_dir": IN_RAY_COPY}, "run_dir", "TRACELIFT_RUNS"),
]


def changed(config: Any, changes: Changes) -> Any:
    """The same frozen dataclass with other values at dotted keys."""
    for key, value in changes.items():
        name, _, rest = key.partition(".")
        config = replace(config, **{name: changed(getattr(config, name), {rest: value}) if rest else value})
    return config


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    directory = tmp_path_factory.mktemp("checks")
    models = [f"{pool}.model={make_model(directory / pool)}" for pool in ("planner", "executor", "reasoning_rm")]
    return to_run_config(compose_config(*models, "data=demo", f"runs_root={directory}/runs"))


def test_training_may_cut_the_distribution_that_it_samples_from(valid: RunConfig) -> None:
    checks.check_run(changed(valid, {"planner.sampling.top_p": 0.95, "planner.sampling.top_k": 20}))


def test_an_engine_without_seeds_of_single_requests_is_not_asked_for_them(
    valid: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENGINES, "openai", replace(ENGINES["openai"], request_seeds=False))
    remote = changed(valid, REMOTE | {"executor.remote.model": "m"})
    checks.check_run(changed(remote, {"executor.sampling.seeded": False}))
    with pytest.raises(ConfigError, match=r"executor\.sampling\.seeded=true: must be false"):
        checks.check_run(changed(remote, {"executor.sampling.seeded": True}))


def test_valid_runs_pass(valid: RunConfig) -> None:
    checks.check_run(valid)
    checks.check_run(changed(valid, GPUS))
    checks.check_run(changed(valid, REMOTE | {"executor.remote.model": "m"}))


@pytest.mark.parametrize(("changes", "key", "right"), BROKEN, ids=lambda value: str(value)[:50])
def test_a_broken_rule_names_key_and_remedy(valid: RunConfig, changes: Changes, key: str, right: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checks.check_run(reread(changed(valid, changes)))
    assert caught.value.key == key
    assert right in caught.value.right


def test_an_arm_without_rubric_needs_no_reasoning_rm(valid: RunConfig) -> None:
    for arm in ("exec_only", "uplift_only"):
        checks.check_run(changed(valid, {"reward.arm": arm, "reasoning_rm.model": ""}))


def test_an_estimator_that_weighs_components_needs_an_arm_that_declares_some(
    valid: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bare(type(ARMS["exec_only"])):  # type: ignore[misc]
        def components(self) -> tuple[str, ...]:
            return ()

    monkeypatch.setitem(ARMS, "exec_only", Bare())
    changes = {"algorithm.advantage": "gdpo", "reward.arm": "exec_only"}
    with pytest.raises(ConfigError, match=r"algorithm\.advantage=gdpo: .*reward\.arm=exec_only declares none"):
        checks.check_run(changed(valid, changes))


def test_a_dry_run_is_let_through_to_show_its_shortfall(valid: RunConfig) -> None:
    checks.check_run(changed(valid, {"cluster.num_cpus": 1, "dry_run": True}))


@pytest.mark.parametrize(
    ("removed", "lacks"),
    [("config.json", "config.json"), ("model.safetensors", "no weights"), ("tokenizer.json", "no tokenizer")],
)
def test_an_incomplete_model_directory_is_refused(valid: RunConfig, tmp_path: Path, removed: str, lacks: str) -> None:
    model = make_model(tmp_path / "incomplete")
    (model / removed).unlink()
    with pytest.raises(ConfigError, match=lacks) as caught:
        checks.check_run(changed(valid, {"executor.model": str(model)}))
    assert caught.value.key == "executor.model"
    assert str(model) in str(caught.value)


def test_a_weight_file_without_content_is_no_weights(valid: RunConfig, tmp_path: Path) -> None:
    model = make_model(tmp_path / "hollow")
    (model / "model.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match="no weights"):
        checks.check_run(changed(valid, {"planner.model": str(model)}))


def test_a_remote_executor_needs_its_tokenizer_and_no_weights(valid: RunConfig, tmp_path: Path) -> None:
    model = tmp_path / "tokenizer_only"
    model.mkdir()
    remote = changed(valid, REMOTE | {"executor.remote.model": "m", "executor.model": str(model)})
    with pytest.raises(ConfigError, match="no tokenizer"):
        checks.check_run(remote)
    (model / "tokenizer.json").write_text("{}")
    checks.check_run(remote)


def test_the_chat_preset_needs_a_chat_template(valid: RunConfig, tmp_path: Path) -> None:
    model = make_model(tmp_path / "chatty")
    chat = changed(valid, {"planner.prompt": "chat", "planner.model": str(model)})
    with pytest.raises(ConfigError, match="no chat template"):
        checks.check_run(chat)
    (model / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    checks.check_run(chat)


def test_an_empty_problem_file_is_refused(valid: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(ConfigError, match="the file is empty"):
        checks.check_run(changed(valid, {"data.train": (f"{tmp_path}/empty.jsonl",)}))


def test_a_run_directory_below_a_file_is_refused(valid: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file"):
        checks.check_run(changed(valid, {"run_dir": f"{tmp_path}/file/run"}))
