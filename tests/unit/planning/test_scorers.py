"""The reasoning RM's backends: each needs its own part, and what it does not need is not asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.config.composed import make_model
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.planning.plan import render_plan
from tracelift_ray.planning.resources import ClusterResources, demands

Run = Callable[..., RunConfig]
SERVICE = ("reasoning_rm=remote", "reasoning_rm.model=''", "reasoning_rm.remote.url=http://127.0.0.1:1/score")
SERVER = (
    "reasoning_rm=judge",
    "reasoning_rm.model=''",
    "reasoning_rm.judge.engine.kind=openai",
    "reasoning_rm.judge.remote.base_url=http://127.0.0.1:1/v1",
    "reasoning_rm.judge.remote.model=big",
)


def refused(run: Run, *overrides: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        run(*overrides)
    return caught.value


@pytest.mark.parametrize(
    ("override", "key", "right"),
    [
        ("reasoning_rm.remote.url=''", "reasoning_rm.remote.url", "http://127.0.0.1:8009/score"),
        ("reasoning_rm.remote.url=127.0.0.1/score", "reasoning_rm.remote.url", "the address of a scoring service"),
        ("reasoning_rm.remote.batch_size=0", "reasoning_rm.remote.batch_size", "1 or more"),
        ("reasoning_rm.remote.concurrency=0", "reasoning_rm.remote.concurrency", "1 or more"),
        ("reasoning_rm.remote.timeout_s=0", "reasoning_rm.remote.timeout_s", "above 0"),
        ("reasoning_rm.remote.retries=-1", "reasoning_rm.remote.retries", "0 or more"),
        ("reasoning_rm.remote.deadline_s=300", "reasoning_rm.remote.deadline_s", "reasoning_rm.pool.deadline_s=300"),
        ("reasoning_rm.remote=null", "reasoning_rm.remote", "reasoning_rm=remote"),
        ("reasoning_rm.pool.gpus_per_worker=1", "reasoning_rm.pool.gpus_per_worker", "clients"),
    ],
)
def test_a_service_must_be_told_how_to_be_reached(run_config: Run, override: str, key: str, right: str) -> None:
    error = refused(run_config, *SERVICE, override)
    assert error.key == key and right in error.right


@pytest.mark.parametrize(
    ("override", "key", "right"),
    [
        ("reasoning_rm.judge.remote.base_url=''", "reasoning_rm.judge.remote.base_url", "OpenAI-compatible"),
        ("reasoning_rm.judge.remote.model=''", "reasoning_rm.judge.remote.model", "server calls"),
        ("reasoning_rm.judge.remote.api=words", "reasoning_rm.judge.remote.api", "completions or chat"),
        ("reasoning_rm.judge.remote.api=completions", "reasoning_rm.judge.model", "checkpoint"),
        ("reasoning_rm.judge.engine.kind=gguf", "reasoning_rm.judge.engine.kind", "vllm, transformers or openai"),
        ("reasoning_rm.judge.prompt=demo", "reasoning_rm.judge.prompt", "plain or chat"),
        ("reasoning_rm.judge.sampling.temperature=-1", "reasoning_rm.judge.sampling.temperature", "0 or more"),
        ("reasoning_rm.judge.sampling.top_p=0", "reasoning_rm.judge.sampling.top_p", "above 0"),
        ("reasoning_rm.judge=null", "reasoning_rm.judge", "reasoning_rm=judge"),
        ("reasoning_rm.pool.gpus_per_worker=1", "reasoning_rm.pool.gpus_per_worker", "clients"),
    ],
)
def test_a_judge_must_be_told_who_it_is(run_config: Run, override: str, key: str, right: str) -> None:
    error = refused(run_config, *SERVER, override)
    assert error.key == key and right in error.right


def test_a_judge_of_our_own_is_a_model_with_room_for_a_problem(run_config: Run, tmp_path: Path) -> None:
    own = (
        "reasoning_rm=judge",
        "reasoning_rm.judge.prompt=plain",
        f"reasoning_rm.judge.model={make_model(tmp_path / 'j')}",
    )
    assert demands(run_config(*own))[3].bundle == {"CPU": 1.0}
    context = refused(run_config, *own, "reasoning_rm.judge.engine.max_model_len=512")
    assert context.key == "reasoning_rm.judge.engine.max_model_len" and "1184 or more" in context.right
    parallel = refused(run_config, *own, "reasoning_rm.judge.engine.tensor_parallel_size=2")
    assert parallel.key == "reasoning_rm.judge.engine.tensor_parallel_size"
    size = refused(run_config, *own, "reasoning_rm.pool.gpus_per_worker=2", "cluster.num_gpus=2")
    assert size.key == "reasoning_rm.pool.gpus_per_worker" and "tensor_parallel_size=1" in size.right
    template = refused(run_config, *own, "reasoning_rm.judge.prompt=chat")
    assert "reasoning_rm.judge.prompt=chat" in template.right


def test_clients_need_no_model_and_little_of_the_machine(run_config: Run) -> None:
    for overrides, where in ((SERVICE, "service at http://127.0.0.1:1/score"), (SERVER, "judge big at http://")):
        run = run_config(*overrides, "planner.pool.gpus_per_worker=1", "cluster.num_gpus=1")
        (asked,) = [demand for demand in demands(run) if demand.name == "reasoning_rm"]
        assert asked.gpus == 0
        assert where in render_plan(run, ClusterResources(8, 1))


def test_an_arm_without_rubric_asks_nothing_of_a_backend(run_config: Run) -> None:
    for backend in ("remote", "judge"):
        run = run_config(f"reasoning_rm={backend}", "reward=exec_only", "reasoning_rm.model=''")
        assert "reasoning_rm" not in {demand.name for demand in demands(run)}


def test_a_relative_judge_becomes_absolute(run_config: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_model(tmp_path / "judge")
    monkeypatch.chdir(tmp_path)
    run = run_config("reasoning_rm=judge", "reasoning_rm.judge.prompt=plain", "reasoning_rm.judge.model=judge")
    assert run.reasoning_rm.judge is not None
    assert run.reasoning_rm.judge.model == str(tmp_path / "judge")
