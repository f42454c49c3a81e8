"""The settings of a merge, and its checks, which load nothing heavy; descriptions: conf/merge.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tracelift_ray.config.paths import check_directory, check_new
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
    """Check the directories of a merge.

    Raises:
        ConfigError: one is missing, or the output exists or cannot be written.
        DataError: base and adapters do not fit.
    """
    check_directory("base", config.base)
    check_directory("adapter", config.adapter)
    check_new("out", config.out)
    check_adapter(Path(config.adapter), Path(config.base))
