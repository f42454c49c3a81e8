"""Everything a run reports, through one object: ``metrics.jsonl``, ``trajectories.jsonl``, W&B, TensorBoard and the
console.

The two files are written first and always; the others follow and never fail the run. After a resume the files hold each
step once.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from tracelift_ray.config.schema import TrackingConfig
from tracelift_ray.disk import disk_reason, free_mib
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.tracking.alarms import LONG_WINDOW, WINDOW, alarms
from tracelift_ray.tracking.console import ConsoleReporter
from tracelift_ray.tracking.distributions import distributions
from tracelift_ray.tracking.history import EVALUATION, TRAINING
from tracelift_ray.tracking.jsonl import JsonlWriter, read_records
from tracelift_ray.tracking.records import trajectory_record
from tracelift_ray.tracking.run_dir import RunDirectory, set_aside
from tracelift_ray.tracking.tensorboard_sink import TensorBoardSink
from tracelift_ray.tracking.timeline import Timeline
from tracelift_ray.tracking.wandb_sink import WandbSink
from tracelift_ray.types import ScoredGroup


class MetricSink(Protocol):
    """One more place for metrics, given from outside. It never raises."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Finite numbers of a step."""


class Tracker:
    """The reporting side of a run.

    Args:
        total_steps: optimizer steps of the whole run.
        run_config: the resolved configuration as plain containers, for ``config.yaml`` and W&B.
        resume_step: the step that the run goes on from: later records are dropped. None starts from the beginning,
            with the files of an earlier start in the same directory set aside under a number.
        sinks: further places for metrics.

    Raises:
        DataError: a file that the run should go on with belongs to another.
    """

    def __init__(
        self,
        config: TrackingConfig,
        run: RunDirectory,
        total_steps: int,
        run_config: Mapping[str, Any],
        resume_step: int | None = None,
        sinks: Sequence[MetricSink] = (),
    ) -> None:
        self._config = config
        self._sinks = sinks
        self._recent: deque[Mapping[str, float]] = deque(maxlen=LONG_WINDOW)
        self._warned: dict[str, int] = {}  # at which step each kind of alarm was said last
        self._run = run
        if resume_step is None:
            set_aside(run.metrics_path)
            set_aside(run.trajectories_path)
            set_aside(run.tensorboard_path)
        self._open(resume_step)
        code = run.record_start(run_config, resume_step)
        self._console = ConsoleReporter(total_steps, resume_step or 0, Console(quiet=not config.console))
        self._wandb = WandbSink.start(
            config,
            run,
            dict(run_config) | {"code_version": str(code)},
            str(run_config.get("name") or run.path.name),
            resumed=resume_step is not None,
            say=self._console.message,
        )
        self._tensorboard = (
            TensorBoardSink(run.tensorboard_path, resume_step, self._console.message) if config.tensorboard else None
        )
        self.timeline = (
            Timeline(run.timeline_path, config.timeline_steps, self._console.message) if config.timeline else None
        )

    def _open(self, keep_step: int | None) -> None:
        """Open the files of records, with those of later steps dropped."""
        self._metrics = JsonlWriter(self._run.metrics_path, keep_step)
        self._trajectories = JsonlWriter(self._run.trajectories_path, keep_step)
        records = (record for _, record in read_records(self._run.metrics_path))
        self._evaluations = {each["step"]: _metrics(each) for each in records if each.get("kind") == EVALUATION}

    def rewind(self, step: int) -> None:
        """The run goes on from ``step`` again: later records are dropped. W&B's rows stay, and come no second time."""
        self._metrics.close()
        self._trajectories.close()
        self._recent.clear()
        self._warned.clear()
        self._open(step)
        if self._wandb is not None:
            self._wandb.rewind()
        if self._tensorboard is not None:
            self._tensorboard.close()
            self._tensorboard = TensorBoardSink(self._run.tensorboard_path, step, self._console.message)

    def log_step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Report one training step: ``group/name`` to number. Raises ``InfrastructureError`` when the disk is full."""
        values = self._record(step, TRAINING, metrics)
        self._console.checkpoint(self._run.newest_checkpoint())
        self._console.step(step, values)
        self._warn(step, values)
        if self.timeline is not None:
            self.timeline.step_ended(step, values["time/step_s"])

    def _warn(self, step: int, values: Mapping[str, float]) -> None:
        """Say what there is reason to say; the same thing again after ``WINDOW`` steps."""
        self._recent.append(values)
        for alarm in alarms(self._recent):
            if step - self._warned.get(alarm.kind, -WINDOW) >= WINDOW:
                self._warned[alarm.kind] = step
                self.message(f"look: {alarm.text}")

    def log_evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Report an evaluation of the planner after ``step`` optimizer steps; 0 is before training."""
        values = self._record(step, EVALUATION, metrics)
        self._evaluations[step] = dict(metrics)
        self._console.evaluation(step, values)

    def has_evaluation(self, step: int) -> bool:
        """Whether ``metrics.jsonl`` holds an evaluation after ``step``, so that a resumed run does not repeat it."""
        return step in self._evaluations

    def last_evaluation(self) -> tuple[int, Mapping[str, float]] | None:
        """The step and the metrics of the newest evaluation, one of an earlier start too; None: there was none."""
        return max(self._evaluations.items(), default=None, key=lambda evaluation: evaluation[0])

    def log_trajectories(self, step: int, groups: Sequence[ScoredGroup], version: int) -> None:
        """Write every trace of the step's groups, histograms of them, and now and then a table of them to W&B.

        ``version`` is that of the weights which the step trained.
        """
        records = [
            trajectory_record(step, scored.group, trajectory, advantage)
            for scored in groups
            for trajectory, advantage in zip(scored.group.trajectories, scored.advantages, strict=True)
        ]
        with _written(self._run.trajectories_path):
            for record in records:
                self._trajectories.write(record)
        self._console.example(records)
        values = distributions(groups, version)
        if self._tensorboard is not None:
            self._tensorboard.log_distributions(step, values)
        if self._wandb is not None:
            self._wandb.log_distributions(step, values)
        due = self._config.table_every > 0 and step % self._config.table_every == 0
        if self._wandb is not None and due:
            stride = max(1, math.ceil(len(records) / max(1, self._config.table_rows)))
            self._wandb.log_traces(step, records[::stride])

    def note(self, name: str, text: str) -> None:
        """A fact about this start, for ``run.json`` and W&B's summary; one that cannot be written is a line."""
        try:
            self._run.record_note(name, text)
        except OSError as error:
            self.message(f"run.json does not say that {name} is {text}: {error.strerror or error}")
        if self._wandb is not None:
            self._wandb.note(name, text)

    def log_save(self, saved: Path) -> None:
        """A complete checkpoint: W&B makes an artifact of it where the configuration asks for that."""
        if self._wandb is not None:
            self._wandb.log_save(saved)

    def message(self, text: str) -> None:
        """One line for the person who watches; nothing where the console is off."""
        self._console.message(text)

    def progress(self, text: str) -> None:
        """What goes on now, for the person who watches; a line only where nothing was said for a while."""
        self._console.progress(text)

    def state(self) -> dict[str, str | None]:
        """What a checkpoint notes of the tracking: the W&B run's id, None without W&B."""
        return {"wandb_run_id": self._wandb.run_id if self._wandb is not None else None}

    def close(self, exit_code: int = 0) -> None:
        """Finish every output; closing twice is harmless."""
        if self._wandb is not None:
            self._wandb.close(exit_code)
        if self._tensorboard is not None:
            self._tensorboard.close()
        if self.timeline is not None:
            self.timeline.close()
        self._console.close()
        self._metrics.close()
        self._trajectories.close()

    def _record(self, step: int, kind: str, metrics: Mapping[str, float]) -> dict[str, float]:
        """Report to the file, W&B and TensorBoard; the metrics come back without those that are no finite numbers."""
        values = {name: float(value) for name, value in metrics.items()}
        with _written(self._run.metrics_path):
            self._metrics.write({"step": step, "time": time.time(), "kind": kind, **values})
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        if self._wandb is not None:
            self._wandb.log(step, finite)
        if self._tensorboard is not None:
            self._tensorboard.log(step, finite)
        for sink in self._sinks:
            sink.log(step, finite)
        return finite


def _metrics(record: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in record.items() if "/" in name}


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Turn a disk that takes no more into one line."""
    try:
        yield
    except OSError as error:
        reason = disk_reason(error) or error.strerror or str(error)
        raise InfrastructureError(
            "tracking",
            f"cannot write {path}: {reason} ({free_mib(path)} MiB free); free some space, and the same command goes on "
            "from the newest checkpoint",
        ) from error
