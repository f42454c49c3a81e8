"""Which checkpoint a run goes on from."""

from __future__ import annotations

from pathlib import Path

from tracelift_ray.tracking.run_dir import set_aside
from tracelift_ray.training.checkpoint import Checkpoint, newest_complete, open_checkpoint


def checkpoint_to_resume(resume: str, directory: Path) -> Checkpoint | None:
    """The checkpoint that ``resume`` names: ``auto`` the newest complete one, if any; ``never`` none; else a path.

    With ``never``, checkpoints of an earlier start are set aside under a number, so that a later ``auto`` goes on from
    this start's own.

    Raises:
        CheckpointError: the path is no complete checkpoint.
    """
    if resume == "never":
        set_aside(directory)
        return None
    return newest_complete(directory) if resume == "auto" else open_checkpoint(Path(resume))
