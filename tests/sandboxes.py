"""Sandbox configurations for tests: those of ``conf/sandbox``, with smaller limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from omegaconf import DictConfig, OmegaConf

from launch.conf_files import CONFIG_DIR
from tracelift_ray.config.load import to_dataclass
from tracelift_ray.config.schema import SandboxConfig


def sandbox_config(**changes: Any) -> SandboxConfig:
    """``conf/sandbox/default.yaml`` with 5 s of CPU, 20 s on the clock, 512 MiB and 64 KiB of output, and changes."""
    loaded = OmegaConf.load(CONFIG_DIR / "sandbox" / "default.yaml")
    assert isinstance(loaded, DictConfig)
    config = to_dataclass(SandboxConfig, loaded, key="sandbox")
    return replace(config, **{"cpu_s": 5.0, "wall_s": 20.0, "memory_mib": 512, "output_kib": 64} | changes)
