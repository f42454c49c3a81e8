"""Configurations for tests, composed as a command would compose them."""

from __future__ import annotations

from typing import TypeVar

from launch.composition import composed
from tracelift_ray.config.load import plain_config, to_dataclass
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.planning.run_config import to_run_config

T = TypeVar("T")


def run_config(*overrides: str, experiment: str = "quickstart") -> RunConfig:
    """The configuration of an experiment with overrides, checked."""
    return to_run_config(composed("config", [f"experiment={experiment}", *overrides]))


def reread(settings: T) -> T:
    """The same settings as a command reads them: ConfigError where a value breaks the rule of its type."""
    return to_dataclass(type(settings), plain_config(settings))
