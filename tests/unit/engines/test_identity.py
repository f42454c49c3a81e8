"""A model's identity changes with everything that its samples depend on, and with nothing else."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import engine_config
from tracelift_ray.config.models import ExecutorConfig, PoolConfig, RemoteConfig, SamplingConfig
from tracelift_ray.engines.identity import executor_identity, model_fingerprint
from tracelift_ray.errors import DataError

REMOTE = RemoteConfig("http://a/v1", "m", "completions", "", 4, 1.0, 0)


def model(directory: Path, **files: Any) -> Path:
    directory.mkdir()
    for name, content in {"a.safetensors": b"weights", "config.json": b"{}", **files}.items():
        (directory / name).write_bytes(content)
    return directory


def test_the_fingerprint_is_of_the_content_wherever_it_lies(tmp_path: Path) -> None:
    one = model(tmp_path / "one")
    two = model(tmp_path / "two", **{"README.md": b"hello"})
    assert model_fingerprint(one) == model_fingerprint(str(two))


@pytest.mark.parametrize(
    "files",
    [{"a.safetensors": b"weightz"}, {"b.safetensors": b""}, {"config.json": b'{"rope_theta": 1}'}],
    ids=["same size", "another shard", "architecture"],
)
def test_the_fingerprint_changes_with_weights_and_architecture(tmp_path: Path, files: dict[str, bytes]) -> None:
    assert model_fingerprint(model(tmp_path / "one")) != model_fingerprint(model(tmp_path / "two", **files))


def test_the_fingerprint_follows_a_file_that_is_overwritten_in_place(tmp_path: Path) -> None:
    one = model(tmp_path / "one")
    before = model_fingerprint(one)
    weights = one / "a.safetensors"
    weights.write_bytes(b"WEIGHTS")
    os.utime(weights, ns=(1, 1))
    assert model_fingerprint(one) != before


def test_a_model_directory_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no directory"):
        model_fingerprint(tmp_path / "missing")
    with pytest.raises(DataError, match="holds no weights"):
        model_fingerprint(tmp_path)


def executor(model_dir: Path, kind: str, remote: RemoteConfig = REMOTE, **engine: Any) -> ExecutorConfig:
    sampling, pool = SamplingConfig(0.5, 1.0, 16, False), PoolConfig(1, 1.0, 0.0, 1, 1.0, 0)
    return ExecutorConfig(str(model_dir), "plain", 64, sampling, False, engine_config(kind, **engine), remote, pool)


def test_weights_kind_and_dtype_name_a_local_executor(tmp_path: Path) -> None:
    one, other = model(tmp_path / "one"), model(tmp_path / "other", **{"config.json": b"[]"})
    known = executor_identity(executor(one, "vllm"))
    assert executor_identity(executor(one, "vllm", max_num_seqs=7, startup_s=1.0)) == known
    assert executor_identity(executor(one, "vllm", replace(REMOTE, model="n"))) == known
    for another in (
        executor(other, "vllm"),
        executor(one, "transformers"),
        executor(one, "vllm", dtype="bfloat16"),
    ):
        assert executor_identity(another) != known


def test_server_and_interface_name_a_remote_executor(tmp_path: Path) -> None:
    known = executor_identity(executor(tmp_path, "openai"))
    assert executor_identity(executor(tmp_path, "openai", replace(REMOTE, retries=9, api_key_env="K"))) == known
    for changes in ({"base_url": "http://b/v1"}, {"model": "n"}, {"api": "chat"}):
        assert executor_identity(executor(tmp_path, "openai", replace(REMOTE, **changes))) != known
