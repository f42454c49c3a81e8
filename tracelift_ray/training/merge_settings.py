"""The settings of a merge, and its checks, which load nothing heavy; descriptions: conf/merge.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.paths import check_directory
from tracelift_ray.config.rules import PathText
from tracelift_ray.lora.directory import check_adapter


@dataclass(frozen=True)
class MergeConfig:
    """Adapters and the base model that they are merged into."""

    base: PathText
    adapter: PathText
    out: PathText  # the directory made
    dtype: Literal["auto", "float32", "bfloat16"]


def check_merge(config: MergeConfig) -> None:
    """Raises ConfigError where a directory is missing or the output exists, DataError where the two do not fit."""
    check_directory("base", config.base)
    check_directory("adapter", config.adapter)
    out = Path(config.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError("out", config.out, "must not exist yet, or be an empty directory; nothing is overwritten")
    check_adapter(Path(config.adapter), Path(config.base))
