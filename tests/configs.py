"""Configurations for tests, composed as a command would compose them."""

from __future__ import annotations

from hydra import compose, initialize_config_dir

from launch.entry import CONFIG_DIR
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.planning.run_config import to_run_config


def run_config(*overrides: str, experiment: str = "quickstart") -> RunConfig:
    """The configuration of an experiment with overrides, checked."""
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return to_run_config(compose("config", [f"experiment={experiment}", *overrides]))
