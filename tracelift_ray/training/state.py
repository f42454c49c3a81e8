"""A learner's state on disk: DeepSpeed's own files, each rank's random generators, and the layout they belong to.

Promise: a rank that loads what it saved goes on as if it had not stopped; state of another layout is refused by name.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tracelift_ray.training.checkpoint import CheckpointError, disk_errors

_TAG = "state"
_LAYOUT = "learner.json"


def save(engine: Any, directory: Path, rank: int, layout: Mapping[str, Any], version: int) -> None:
    """Save a DeepSpeed ``engine`` and this rank's generators; a collective.

    Args:
        layout: the learner settings that decide how DeepSpeed lays out its files.
        version: optimizer steps taken.
    """
    with disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        engine.save_checkpoint(str(directory), tag=_TAG)
        torch.save(generator_states(), directory / f"rng-{rank}.pt")
        if rank == 0:
            (directory / _LAYOUT).write_text(json.dumps({**layout, "version": version}) + "\n")
    torch.distributed.barrier()


def load(engine: Any, directory: Path, rank: int, layout: Mapping[str, Any]) -> int:
    """Restore what ``save`` wrote; returns the version. A collective.

    Raises:
        CheckpointError: the state is missing, unreadable, or of another layout.
    """
    try:
        saved = json.loads((directory / _LAYOUT).read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{directory} holds no learner state ({error}); use another checkpoint") from error
    for key, now in layout.items():
        if saved[key] != now:
            raise CheckpointError(
                f"{directory} was saved with learner.{key}={saved[key]}, but this run has {now}; resume with the saved "
                "value, or start anew with planner.model set to the checkpoint's planner directory"
            )
    try:
        generators = torch.load(directory / f"rng-{rank}.pt", weights_only=False)  # our own file
    except OSError as error:
        raise CheckpointError(f"{directory} lacks the state of rank {rank} ({error})") from error
    engine.load_checkpoint(str(directory), tag=_TAG, load_lr_scheduler_states=False)
    restore_generators(generators)
    return saved["version"]


def seed_generators(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def generator_states() -> dict[str, Any]:
    """The present states, for ``torch.save``."""
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return {"python": random.getstate(), "numpy": np.random.get_state(), "torch": torch.get_rng_state(), "cuda": cuda}


def restore_generators(states: dict[str, Any]) -> None:
    """Go back to ``generator_states``."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
