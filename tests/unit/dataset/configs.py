"""Configurations of group builds, composed as on the command line."""

from __future__ import annotations

from hydra import compose, initialize_config_dir

from launch.conf_files import CONFIG_DIR
from tracelift_ray.config.load import to_dataclass
from tracelift_ray.dataset.settings import BuildGroupsConfig, check_build


def build_config(*overrides: str) -> BuildGroupsConfig:
    """The checked configuration."""
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        config = to_dataclass(BuildGroupsConfig, compose("build_groups", list(overrides)))
    check_build(config)
    return config
