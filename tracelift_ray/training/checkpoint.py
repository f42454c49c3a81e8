"""Checkpoints on disk: a directory per step that is there whole or not at all.

Layout: ``step-000012/`` holds ``planner/`` (of Hugging Face, or of PEFT), ``learner/`` (DeepSpeed's state),
``state.json`` (counters, sampler position and what else the run needs to go on) and ``manifest.json`` (every other
file and its size). It is written under a ``.tmp-`` name, flushed to the disk and renamed, so a name ``step-…`` is only
ever seen complete; a copy that lost files on its way is recognised by its manifest and passed over.
One run at a time writes to a directory of checkpoints.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracelift_ray.disk import disk_reason, free_mib
from tracelift_ray.errors import InfrastructureError

STATE = "state.json"
MANIFEST = "manifest.json"
#: The key of ``state.json`` under which a checkpoint has the metric that decides which one is the best.
MEASURED = "measured"
#: The key of ``state.json`` that marks a checkpoint which the next one replaces.
READY = "ready"
_NAME = re.compile(r"^step-(\d{6,})$")
_TEMPORARY = ".tmp-"


class CheckpointError(InfrastructureError):
    """A checkpoint cannot be written or read. The message says which, why, and what to do; older ones are untouched."""

    def __init__(self, cause: str) -> None:
        super().__init__("checkpoint", cause)
        self.args = (cause,)  # what pickle gives the constructor


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk, or the draft of one."""

    path: Path
    step: int

    @property
    def planner_dir(self) -> Path:
        """The planner as a Hugging Face directory."""
        return self.path / "planner"

    @property
    def learner_dir(self) -> Path:
        """The learner's state: optimizer, RNG, version."""
        return self.path / "learner"

    def state(self) -> dict[str, Any]:
        """What ``publish`` was given. Raises CheckpointError where ``state.json`` is unreadable."""
        path = self.path / STATE
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} cannot be read ({error}); resume from an older checkpoint") from error


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk, in the words of any library, into one clear CheckpointError."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # every library wraps a full disk in another type; all else goes on unchanged
        reason = disk_reason(error)
        if reason is None:
            raise
        raise CheckpointError(
            f"cannot write {path}: {reason} ({free_mib(path)} MiB free). The checkpoints before it are intact; "
            "free some space or lower learner.keep_checkpoints"
        ) from error


def begin(directory: Path, step: int, *, with_learner: bool = True) -> Checkpoint:
    """An empty draft for ``step`` under ``directory``, which is made if missing; leftovers of dead drafts are removed.

    Write ``planner_dir`` and, ``with_learner``, ``learner_dir`` of the draft, then ``publish`` it.
    """
    with disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        discard_drafts(directory)
        draft = Checkpoint(directory / f"{_TEMPORARY}step-{step:06d}", step)
        draft.planner_dir.mkdir(parents=True)
        if with_learner:
            draft.learner_dir.mkdir()
    return draft


def publish(draft: Checkpoint, state: Mapping[str, Any]) -> Checkpoint:
    """Complete a draft: write ``state`` (JSON values) and the manifest, flush all to disk, rename.

    A checkpoint of the same step is replaced. Raises CheckpointError, and leaves the directory's other checkpoints as
    they are, where the disk is full.
    """
    final = Checkpoint(draft.path.with_name(f"step-{draft.step:06d}"), draft.step)
    with disk_errors(final.path):
        (draft.path / STATE).write_text(json.dumps(dict(state), indent=1) + "\n")
        manifest = {"step": draft.step, "files": _sizes(draft.path)}
        (draft.path / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        _flush_tree(draft.path)
        if final.path.exists():
            _retire(final.path)
        os.rename(draft.path, final.path)
        _flush(final.path.parent)
        discard_drafts(final.path.parent)
    return final


@contextmanager
def writing(directory: Path, step: int, *, with_learner: bool = True) -> Iterator[Checkpoint]:
    """A draft that is removed, with what was written, when the block fails; a full disk ends as CheckpointError."""
    draft = begin(directory, step, with_learner=with_learner)
    try:
        with disk_errors(draft.path):
            yield draft
    except BaseException:  # half a draft is removed, and what ended it goes on
        half = draft.path.with_name(f"{_TEMPORARY}half-{draft.path.name}")
        with suppress(OSError):  # its name first: a thread that still publishes it finds all of it, or nothing
            os.rename(draft.path, half)
        for path in (half, draft.path):
            shutil.rmtree(path, ignore_errors=True)
        raise


def complete(directory: Path) -> list[Checkpoint]:
    """The complete checkpoints of a directory, oldest first; empty where it does not exist."""
    if not directory.is_dir():
        return []
    found = []
    for path in directory.iterdir():
        match = _NAME.match(path.name)
        if match and is_complete(path):
            found.append(Checkpoint(path, int(match.group(1))))
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def newest_complete(directory: Path) -> Checkpoint | None:
    """The newest complete checkpoint of a directory, or None."""
    return next(reversed(complete(directory)), None)


def open_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint at ``path``; CheckpointError where it is missing or incomplete, saying how."""
    match = _NAME.match(path.name)
    if match is None or not path.is_dir():
        raise CheckpointError(f"{path} is not a checkpoint; give a directory named step-NNNNNN")
    missing = _damage(path)
    if missing is not None:
        raise CheckpointError(f"the checkpoint {path} is incomplete: {missing}; use an older one")
    return Checkpoint(path, int(match.group(1)))


def is_complete(path: Path) -> bool:
    """Whether a checkpoint has its manifest and every file of it in full size."""
    return _damage(path) is None


def prune(directory: Path, keep: int, *, best: str = "", spare: Collection[Path] = ()) -> list[Path]:
    """Remove complete checkpoints but the newest ``keep`` (at least 1); returns the paths removed.

    One that is marked ``READY`` does not count, and stays only while it is the newest.

    Args:
        best: a metric; the checkpoint with its highest value, as measured at that step, stays too. Empty: none does.
        spare: paths that stay for now.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}; at least one checkpoint has to stay")
    everything = complete(directory)
    found = [each for each in everything if not each.state().get(READY)]
    kept = {*spare, *(each.path for each in (*found[-keep:], *everything[-1:]))}
    scores = [(each.state().get(MEASURED, {}).get(best), each) for each in found] if best else []
    scored = [(score, each.step, each.path) for score, each in scores if score is not None]
    if scored:
        kept.add(max(scored)[2])
    surplus = [each.path for each in everything if each.path not in kept]
    with disk_errors(directory):
        for path in surplus:
            _retire(path)
        discard_drafts(directory)
    return surplus


def discard_drafts(directory: Path) -> None:
    """Remove what runs that died while saving or pruning left behind."""
    for path in directory.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(path)


def _retire(path: Path) -> None:
    """Take a checkpoint's name away at once; its files go with the next ``discard_drafts``."""
    os.rename(path, path.with_name(f"{_TEMPORARY}old-{path.name}"))


def _damage(path: Path) -> str | None:
    """What is wrong with a checkpoint's files, or None."""
    try:
        files = json.loads((path / MANIFEST).read_text())["files"]
    except FileNotFoundError:
        return f"{MANIFEST} is missing"
    except (OSError, ValueError, KeyError) as error:
        return f"{MANIFEST} is unreadable ({error})"
    for name, size in files.items():
        try:
            found = (path / name).stat().st_size
        except OSError:
            return f"{name} is missing"
        if found != size:
            return f"{name} has {found} bytes of {size}"
    return None


def _sizes(root: Path) -> dict[str, int]:
    """Relative path and size in bytes of every file below ``root``."""
    return {str(p.relative_to(root)): p.stat().st_size for p in sorted(root.rglob("*")) if p.is_file()}


def _flush_tree(root: Path) -> None:
    """Force every file and directory below and including ``root`` to the disk."""
    for path in sorted(root.rglob("*")):
        _flush(path)
    _flush(root)


def _flush(path: Path) -> None:
    """Force one file or directory to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
