"""What decides how a learner's state lies on disk: written beside the state, and compared before it is read again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tracelift_ray.config.schema import LearnerConfig
from tracelift_ray.lora.directory import base_fingerprint
from tracelift_ray.training.checkpoint import CheckpointError, disk_errors

_FILE = "learner.json"
#: What a state without a key was saved with.
_ABSENT = {"lora.rank": 0}
#: What a refusal names in any case.
_ALWAYS = ("num_workers", "zero_stage", "dtype")


def state_layout(config: LearnerConfig, world_size: int) -> dict[str, Any]:
    """The settings that a state belongs to, by their keys under ``learner``."""
    layout = {"num_workers": world_size, "zero_stage": config.zero_stage, "dtype": config.dtype, "lora.rank": 0}
    lora = config.lora
    if lora.rank == 0:
        return layout
    return layout | {
        "lora.rank": lora.rank,
        "lora.alpha": lora.alpha,
        "lora.target_modules": list(lora.target_modules),
        "lora.rslora": lora.rslora,
        "lora.dora": lora.dora,
    }


def write_layout(directory: Path, layout: Mapping[str, Any], version: int, model: str) -> None:
    """Note the layout of the state in ``directory``, its version, and which base model its adapters belong to."""
    base = {"base": base_fingerprint(Path(model))} if layout["lora.rank"] else {}
    with disk_errors(directory):
        (directory / _FILE).write_text(json.dumps({**layout, "version": version, **base}) + "\n")


def check_layout(directory: Path, layout: Mapping[str, Any], model: str) -> int:
    """The version of the state in ``directory``, which must have been saved under ``layout``.

    Adapters alone are saved, so they must also be those of the base ``model``.

    Raises:
        CheckpointError: it was not, or is unreadable.
    """
    try:
        saved = _ABSENT | json.loads((directory / _FILE).read_text())
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{directory} holds no learner state ({error}); use another checkpoint") from error
    other = [key for key, value in layout.items() if saved.get(key) != value]
    if other:
        told = [*_ALWAYS, *(key for key in other if key not in _ALWAYS)]
        raise CheckpointError(
            f"{directory} was saved with {_in_words(saved, told)}, but this run has {_in_words(layout, told)}; "
            "resume with the saved values, or begin a new run with planner.model set to the checkpoint's planner "
            "directory (of adapters: to what launch.merge makes of it), which keeps the weights but not the "
            "optimizer's state"
        )
    if layout["lora.rank"] and saved.get("base") != base_fingerprint(Path(model)):
        raise CheckpointError(
            f"{directory} has adapters of other weights than those in {model}; resume with the planner.model that they "
            "were trained on"
        )
    return saved["version"]


def _in_words(layout: Mapping[str, Any], keys: Iterable[str]) -> str:
    return ", ".join(f"learner.{key}={layout[key]}" for key in keys if key in layout)
