"""Saved planners, or whole checkpoints, as artifacts of the training's W&B run.

It promises: a save is held at once, by hard links in the run directory, so that the checkpoint itself need not stay;
the rest is done in a separate thread, so that neither training nor the metrics wait for an upload, and the end of a run
waits for ``UPLOAD_S`` at most; a save that does not become an artifact is one line, and W&B goes on. Online the links
go once their artifact is there; offline they stay, because ``wandb sync`` sends them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from tracelift_ray.config.errors import last_line
from tracelift_ray.config.schema import WandbArtifacts
from tracelift_ray.errors import DataError
from tracelift_ray.tracking.background import Background

#: Seconds for the upload of one save, and in which all of them must be over at the end of a run.
UPLOAD_S = 600.0


class ArtifactLog:
    """Makes artifacts of saves, one after another.

    Args:
        what: what of a save becomes an artifact.
        folder: where the links are kept, on the file system of the saves.
        say: prints one line.
    """

    def __init__(self, what: WandbArtifacts, folder: Path, say: Callable[[str], None]) -> None:
        self._what = what
        self._folder = folder
        self._say = say
        self._background = Background("wandb-artifacts")
        self._waiting: set[Path] = set()

    @property
    def waiting(self) -> int:
        """How many saves are still to be logged."""
        return len(self._waiting)

    def add(self, saved: Path, current: Callable[[], Any | None]) -> None:
        """Have the save in directory ``saved`` logged in its turn, with the run that ``current`` then gives, if any."""
        if self._what == "none":
            return
        content = saved / "planner" if self._what == "planner" else saved
        held = self._folder / f"{saved.name}-{os.urandom(4).hex()}"
        try:
            shutil.copytree(content, held, copy_function=os.link)
        except OSError:  # a file system without hard links: W&B copies the files, if they are still there then
            shutil.rmtree(held, ignore_errors=True)
            held = content
        self._waiting.add(held)
        self._background.add(partial(self._log, saved, held, current))

    def finish(self) -> None:
        """Wait until all are logged, for ``UPLOAD_S`` seconds at most; no more may be added."""
        self._background.finish(UPLOAD_S)

    def _log(self, saved: Path, held: Path, current: Callable[[], Any | None]) -> None:
        stays = False
        try:
            if (run := current()) is not None:
                self._send(run, saved, held)
                stays = run.offline
        except Exception as error:  # of W&B, its server or the disk: of whatever kind, the run goes on
            self._say(f"W&B: {saved} became no artifact ({last_line(str(error))}); the save itself is whole")
        finally:
            self._waiting.discard(held)
            if held.parent == self._folder and not stays:
                shutil.rmtree(held, ignore_errors=True)

    def _send(self, run: Any, saved: Path, held: Path) -> None:
        import wandb

        files = sorted(path for path in held.rglob("*") if path.is_file())
        if not files:
            raise DataError("its files are gone: this file system has no hard links, and newer saves replaced it")
        policy: Literal["immutable", "mutable"] = "immutable" if held.parent == self._folder else "mutable"
        made = wandb.Artifact(f"{self._what}-{run.id}", "model", metadata={"saved": str(saved)})
        for path in files:
            made.add_file(str(path), str(path.relative_to(held)), skip_cache=True, policy=policy)
        logged = run.log_artifact(made, aliases=["latest", saved.name])
        if not run.offline:
            logged.wait(int(UPLOAD_S))
