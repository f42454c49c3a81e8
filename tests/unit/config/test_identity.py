"""Every field of a configuration that results depend on counts, unless the table says why it does not."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from tests.sandboxes import sandbox_config
from tests.tiny import engine_config
from tracelift_ray.config.identity import WITHOUT_EFFECT, identity
from tracelift_ray.config.models import PoolConfig, RemoteConfig
from tracelift_ray.config.schema import CodeServiceConfig, VerifierConfig

SERVICE = CodeServiceConfig("http://a", 1, 1.0, 0)
EXAMPLES = (
    sandbox_config(service=SERVICE),
    SERVICE,
    VerifierConfig(5.0, PoolConfig(1, 1.0, 0.0, 1, 1.0, 0)),
    engine_config("vllm"),
    RemoteConfig("http://a/v1", "m", "completions", "", 4, 1.0, 0),
)


def other(value: Any) -> Any:
    """Another value of the same kind, where there is one."""
    if isinstance(value, CodeServiceConfig):
        return replace(value, url="http://b")
    if isinstance(value, PoolConfig):
        return replace(value, workers=value.workers + 1)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return (*value, "other") if isinstance(value, tuple) else f"{value} other"


def test_the_table_names_classes_and_fields_that_exist_with_reasons() -> None:
    assert {type(each) for each in EXAMPLES} == set(WITHOUT_EFFECT)
    for configuration, ignored in WITHOUT_EFFECT.items():
        assert set(ignored) <= {field.name for field in fields(configuration)} and all(ignored.values())


@pytest.mark.parametrize("config", EXAMPLES, ids=lambda config: type(config).__name__)
def test_a_field_counts_unless_the_table_says_why_not(config: Any) -> None:
    known = identity(config)
    for field in fields(config):
        changed = replace(config, **{field.name: other(getattr(config, field.name))})
        ignored = field.name in WITHOUT_EFFECT[type(config)]
        assert (identity(changed) == known) == ignored, field.name


def test_limits_of_requests_to_a_service_do_not_count_within_a_sandbox() -> None:
    sandbox = sandbox_config(service=SERVICE)
    assert identity(replace(sandbox, service=replace(SERVICE, retries=9))) == identity(sandbox)
