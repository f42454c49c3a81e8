"""The settings of the scoring service are checked before anything is loaded; it ends in one line with the remedy."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from launch.conf_files import CONFIG_DIR
from launch.serve_rm import ServeRmConfig, check
from tests.configs import reread
from tests.unit.config.composed import make_model
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.load import to_dataclass


def configured(*overrides: str) -> ServeRmConfig:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return to_dataclass(ServeRmConfig, compose("serve_rm", list(overrides)))


@pytest.fixture
def valid(tmp_path: Path) -> ServeRmConfig:
    return configured(f"reasoning_rm.model={make_model(tmp_path / 'rm')}")


def test_a_model_or_a_judge_can_be_served(valid: ServeRmConfig, tmp_path: Path) -> None:
    check(valid)
    model = make_model(tmp_path / "judge")
    check(configured("reasoning_rm=judge", "reasoning_rm.judge.prompt=plain", f"reasoning_rm.judge.model={model}"))


@pytest.mark.parametrize(
    ("key", "value", "right"),
    [
        ("host", "", "address"),
        ("port", 65536, "65535"),
        ("task", "chess", "must be math"),
        ("max_body_kib", 0, "1 or more"),
        ("max_items", 0, "1 or more"),
        ("max_waiting", 511, "max_items=512"),
        ("timeout_s", 0.0, "above 0"),
        ("drain_s", -1.0, "0 or more"),
        ("reasoning_rm.dtype", "int8", "float32"),
        ("reasoning_rm.max_length", 0, "1 or more"),
        ("reasoning_rm.max_batch_tokens", 0, "1 or more"),
        ("reasoning_rm.model", "/nowhere", "no directory"),
        ("reasoning_rm.backend", "remote", "point its clients"),
        ("reasoning_rm.backend", "oracle", "model, remote or judge"),
    ],
)
def test_a_wrong_value_is_refused_by_its_key(valid: ServeRmConfig, key: str, value: object, right: str) -> None:
    name, _, field = key.partition(".")
    part = dataclasses.replace(valid.reasoning_rm, **{field: value}) if field else value  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as caught:
        check(reread(dataclasses.replace(valid, **{name: part})))  # type: ignore[arg-type]
    assert caught.value.key == key and right in caught.value.right
