"""A composed, valid run over small fake model directories, which the tests then bend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.config.composed import compose_config, make_model
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.planning.run_config import to_run_config


@pytest.fixture
def base(tmp_path: Path) -> tuple[str, ...]:
    """Overrides that make a valid run of the demo's problems with fake models."""
    models = {pool: make_model(tmp_path / "models" / pool) for pool in ("planner", "executor", "reasoning_rm")}
    return (*(f"{pool}.model={path}" for pool, path in models.items()), "data=demo", f"runs_root={tmp_path}/runs")


@pytest.fixture
def run_config(base: tuple[str, ...]) -> Callable[..., RunConfig]:
    """Compose, convert and check the valid run with further overrides."""
    return lambda *overrides: to_run_config(compose_config(*base, *overrides))
