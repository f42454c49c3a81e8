"""What an unfinished training run keeps on disk, so that it goes on after a kill as if there had been none.

Beside the model to be, ``models/rm``, lies ``models/rm.work``: ``config.yaml`` and ``run.json`` (as of a training run),
``metrics.jsonl`` (a record for each step and evaluation), ``wandb/``, and until the run is finished ``checkpoints/``.
A checkpoint is there whole or not at all and belongs to one configuration and one file of groups.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash
from safetensors.torch import load_file, save_file
from torch import Tensor

from tracelift_ray.config.schema import TrackingConfig
from tracelift_ray.errors import DataError
from tracelift_ray.reasoning_rm.training.settings import TrainRmConfig
from tracelift_ray.tracking.jsonl import JsonlWriter, read_records
from tracelift_ray.tracking.run_dir import RunDirectory
from tracelift_ray.tracking.wandb_sink import WandbSink
from tracelift_ray.training import checkpoint
from tracelift_ray.training.checkpoint import Checkpoint

BEST = "best.safetensors"
#: Fields that may differ between the starts of one run: none of them changes what is trained.
_FREE = ("log_every", "save_every", "wandb", "project", "ranks")
_KEEP_CHECKPOINTS = 2


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        step: optimizer steps done.
        best_step: of the best evaluation; 0: none yet.
        best: its (group accuracy, pair accuracy, mean margin), compared in this order.
        worse_since: evaluations since the best one.
        stopped: whether it ended early.
        seconds: spent on steps and evaluations, over all starts.
    """

    step: int = 0
    best_step: int = 0
    best: tuple[float, ...] = ()
    worse_since: int = 0
    stopped: bool = False
    seconds: float = 0.0


class WorkDirectory:
    """The directory of one run, made where it is missing; else the run in it goes on.

    Raises:
        DataError: it cannot be written, or holds the unfinished run of another configuration or other groups.
    """

    def __init__(self, config: TrainRmConfig) -> None:
        output = Path(config.output)
        self._run = RunDirectory.create(output.with_name(f"{output.name}.work"))
        self._config = config
        self._fingerprint = _fingerprint(config)
        newest = self.newest()
        if newest is not None:
            self._check_same(newest.state()["fingerprint"])

    @property
    def path(self) -> Path:
        return self._run.path

    def newest(self) -> Checkpoint | None:
        """The newest whole checkpoint."""
        return checkpoint.newest_complete(self._run.checkpoints_path)

    def draft(self, step: int) -> Checkpoint:
        """A new checkpoint to be filled and given to ``publish``."""
        draft = checkpoint.begin(self._run.checkpoints_path, step)
        draft.planner_dir.rmdir()  # a reward model's checkpoint has no planner
        return draft

    def publish(self, draft: Checkpoint, progress: Progress, best: Mapping[str, Tensor]) -> None:
        """Complete a checkpoint; ``best`` are the trained weights of the best evaluation so far, none before it."""
        if best:
            with checkpoint.disk_errors(draft.path):
                save_file(dict(best), draft.path / BEST)
        state = {"progress": dataclasses.asdict(progress), "fingerprint": self._fingerprint}
        checkpoint.publish(draft, state)
        checkpoint.prune(self._run.checkpoints_path, _KEEP_CHECKPOINTS)

    def open_log(self, step: int | None, say: Callable[[str], None]) -> TrainingLog:
        """The metrics' outputs of a run that starts (None) or goes on after ``step``."""
        config, name = dataclasses.asdict(self._config), Path(self._config.output).name
        self._run.record_start(config, step)
        tracking = TrackingConfig(
            self._config.wandb, self._config.project, None, 0, 0, "none", False, False, 0.0, 10.0, False, False, 5
        )
        sink = WandbSink.start(tracking, self._run, config, name, resumed=step is not None, say=say)
        return TrainingLog(JsonlWriter(self._run.metrics_path, keep_step=step or 0), sink)

    def records(self) -> Iterator[dict[str, Any]]:
        """The records of ``metrics.jsonl``, in order."""
        return (record for _, record in read_records(self._run.metrics_path))

    def discard_checkpoints(self) -> None:
        """The run is finished: only its metrics are kept."""
        shutil.rmtree(self._run.checkpoints_path, ignore_errors=True)

    def _check_same(self, saved: Mapping[str, Any]) -> None:
        for key, now in self._fingerprint.items():
            if saved.get(key) != now:
                raise DataError(
                    f"{self.path} holds an unfinished run with {key}={saved.get(key)!r}, and this one has {now!r}; "
                    "finish that one, or remove the directory"
                )


class TrainingLog:
    """``metrics.jsonl`` and W&B."""

    def __init__(self, records: JsonlWriter, sink: WandbSink | None) -> None:
        self._records = records
        self._sink = sink

    def write(self, step: int, kind: str, values: Mapping[str, Any]) -> None:
        """One record, named ``kind/name`` in W&B, which is given the numbers alone."""
        self._records.write({"step": step, "kind": kind, **values})
        if self._sink is not None:
            self._sink.log(step, {f"{kind}/{k}": v for k, v in values.items() if isinstance(v, (int, float))})

    def close(self, exit_code: int) -> None:
        self._records.close()
        if self._sink is not None:
            self._sink.close(exit_code)


def progress_of(saved: Checkpoint) -> Progress:
    """The progress in a checkpoint."""
    values = saved.state()["progress"]
    return Progress(**{**values, "best": tuple(values["best"])})


def best_weights(saved: Checkpoint) -> dict[str, Tensor]:
    """The trained weights of the best evaluation up to a checkpoint; empty where there was none yet."""
    path = saved.path / BEST
    return load_file(path) if path.exists() else {}


def _fingerprint(config: TrainRmConfig) -> dict[str, Any]:
    """What decides the course of a run: every field but ``_FREE``, and what is in the files of groups."""
    fields = {key: value for key, value in dataclasses.asdict(config).items() if key not in _FREE}
    files = {"groups": config.groups, "heldout_groups": config.heldout_groups}
    hashes = {f"{key} (content)": _hash(path) for key, path in files.items() if path is not None}
    ranks = {"ranks.workers": config.ranks.workers, "ranks.zero_stage": config.ranks.zero_stage}
    return json.loads(json.dumps({**fields, **ranks, **hashes}))


def _hash(path: str) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, xxhash.xxh3_64).hexdigest()
