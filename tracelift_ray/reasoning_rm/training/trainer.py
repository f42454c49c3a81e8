"""Trains a reasoning RM from TraceLift-Groups, measures it on held-out problems, and saves it whole or not at all.

The promise: a run that is killed at any moment and started again goes on as if it had not been; the same configuration,
data and machine give the same model. The weights that are kept are those of the best evaluation.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch.distributed as dist
from torch import Tensor

from tracelift_ray.errors import DataError
from tracelift_ray.reasoning_rm.model.batching import InputEncoder
from tracelift_ray.reasoning_rm.training.data import (
    EncodedGroup,
    EncodedTrace,
    GroupData,
    encode_groups,
    load_data,
    sample_epoch,
)
from tracelift_ray.reasoning_rm.training.finish import TrainingResult, finish
from tracelift_ray.reasoning_rm.training.metrics import measure
from tracelift_ray.reasoning_rm.training.rank import RmRank
from tracelift_ray.reasoning_rm.training.settings import TrainRmConfig
from tracelift_ray.reasoning_rm.training.work import Progress, TrainingLog, WorkDirectory, best_weights, progress_of
from tracelift_ray.tracking.alive import Heartbeat, heartbeat
from tracelift_ray.training.checkpoint import Checkpoint
from tracelift_ray.training.ranks import RankPlace, run_ranks
from tracelift_ray.training.schedule import learning_rate

Say = Callable[[str], None]
EVALUATING = "evaluating, held-out groups"
#: What of the metrics an evaluation writes, beside labels and kinds of flaws.
EVALUATED = ("pair_accuracy", "group_accuracy", "mean_margin", "total_mae", "total_rmse")


def say_line(line: str) -> None:
    """Prints a line at once."""
    print(line, flush=True)


def train(config: TrainRmConfig, say: Say = say_line) -> TrainingResult:
    """Runs a whole training, or the rest of one that was killed, and leaves the model in ``config.output``.

    Args:
        say: receives progress lines; it has to pickle where there are several ranks.

    Raises:
        DataError: the groups cannot be used, ``output`` exists already, or another run is unfinished there.
        ConfigError: the learning rate is so high that the gradient is no number any more.
        RewardModelError: ``model`` is no backbone.
        InfrastructureError: a rank died, or the disk is full.
    """
    output = Path(config.output)
    if output.exists():
        raise DataError(f"output={output} exists already; name another directory or remove it")
    with heartbeat(say, f"reading {config.groups}") as beat:
        data = load_data(config, beat.say)
    work = WorkDirectory(config)
    run_ranks(config.ranks.workers, train_rank, config, data, say)
    return finish(config, data, work, say)


def train_rank(place: RankPlace, config: TrainRmConfig, data: GroupData, say: Say) -> None:
    """One rank's part of a run, up to its last checkpoint."""
    with heartbeat(say if place.rank == 0 else _say_nothing, f"loading {config.model} and the groups") as beat:
        _train_rank(place, config, data, beat)


def _train_rank(place: RankPlace, config: TrainRmConfig, data: GroupData, beat: Heartbeat) -> None:
    encoder = InputEncoder.load(config.model, config.max_length, show_problem=config.show_problem)
    train_groups = encode_groups(data.train, encoder, config.max_tests)
    heldout = encode_groups(data.heldout[: config.eval_groups or None], encoder, config.max_tests)
    rank = RmRank(config, data.names, encoder.pad_id, place)
    run = RmTrainer(config, rank, train_groups, heldout, data.names, beat)
    exit_code = 1
    try:
        rank.start()
        run.resume()
        run.finish_steps()
        exit_code = 0
    finally:
        run.close(exit_code)
        rank.close()


class RmTrainer:
    """The loop of one rank: steps, evaluations and checkpoints at fixed steps."""

    def __init__(
        self,
        config: TrainRmConfig,
        rank: RmRank,
        groups: Sequence[EncodedGroup],
        heldout: Sequence[EncodedGroup],
        names: tuple[str, ...],
        beat: Heartbeat,
    ) -> None:
        self._config = config
        self._rank = rank
        self._heldout = heldout
        self._names = names
        self._beat = beat
        self._say = beat.say
        self._first = rank.place.rank == 0
        self._work = WorkDirectory(config)
        self._schedule = EpochSchedule(groups, config)
        self._progress = Progress()
        self._best: Mapping[str, Tensor] = {}
        self._log: TrainingLog | None = None

    def resume(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        newest = self._work.newest()
        if newest is not None:
            self._progress = progress_of(newest)
            self._best = best_weights(newest) if self._first else {}
            self._rank.load_state(newest.learner_dir)
            self._say(f"going on after step {self._progress.step}")
        dist.barrier()  # nobody removes checkpoints while another rank reads them
        if self._first:
            self._log = self._work.open_log(newest.step if newest else None, self._say)
        total, held = self._schedule.steps, len(self._heldout)
        self._say(
            f"training on {self._schedule.num_groups} groups for {total} steps, evaluated on {held} held out; "
            f"{self._schedule.truncated} traces are cut to {self._config.max_length} tokens"
        )

    def finish_steps(self) -> None:
        """All steps that are left, unless evaluations stop improving."""
        started, before = time.monotonic(), self._progress
        while self._progress.step < self._schedule.steps and not self._progress.stopped:
            step = self._progress.step + 1
            self._beat.doing("training, steps", step - 1, self._schedule.steps)
            terms = self._rank.step(self._schedule.batch(step), self._rate_share(step))
            elapsed = before.seconds + time.monotonic() - started
            self._progress = replace(self._progress, step=step, seconds=elapsed)
            self._report(step, terms, elapsed / step)
            due = self._due(step, self._config.eval_every or self._schedule.steps_per_epoch)
            if due:
                self._evaluate(step)
            if due or self._due(step, self._config.save_every):
                self._progress = replace(self._progress, seconds=before.seconds + time.monotonic() - started)
                self._save()

    def close(self, exit_code: int) -> None:
        if self._log is not None:
            self._log.close(exit_code)

    def _due(self, step: int, every: int) -> bool:
        return step == self._schedule.steps or (every > 0 and step % every == 0)

    def _rate_share(self, step: int) -> float:
        warmup = min(self._config.warmup_steps, self._schedule.steps - 1)
        return learning_rate(step - 1, self._schedule.steps, peak=1.0, schedule="cosine", warmup_steps=warmup)

    def _report(self, step: int, terms: Mapping[str, float], seconds_per_step: float) -> None:
        if self._log is not None:
            self._log.write(step, "train", {**terms, "lr": self._config.lr * self._rate_share(step)})
        if self._due(step, self._config.log_every):
            left = seconds_per_step * (self._schedule.steps - step)
            self._say(
                f"step {step}/{self._schedule.steps}  loss {terms['loss']:.3f}  ranking {terms['ranking']:.3f}  "
                f"{_clock(left)} left"
            )

    def _evaluate(self, step: int) -> None:
        """Measure on held-out groups, and keep the weights where they are the best yet."""
        self._beat.doing(EVALUATING, 0, len(self._heldout))
        scored = self._rank.score([group.traces for group in self._heldout], partial(self._beat.doing, EVALUATING))
        groups = [group.with_traces(traces) for group, traces in zip(self._heldout, scored, strict=True)]
        metrics = measure(groups, self._names)
        key = (metrics.group_accuracy, metrics.pair_accuracy, metrics.mean_margin)
        better = not self._progress.best or key > self._progress.best
        if better:
            self._best = self._rank.trained_weights()
            self._progress = replace(self._progress, best=key, best_step=step, worse_since=0)
        else:
            since = self._progress.worse_since + 1
            stopped = bool(self._config.patience) and since >= self._config.patience
            self._progress = replace(self._progress, worse_since=since, stopped=stopped)
        if self._log is not None:
            record = {name: getattr(metrics, name) for name in EVALUATED}
            record |= {f"label_{name}": share for name, share in metrics.dimension_accuracy.items()}
            record |= {f"pairs_{kind}": share for kind, (share, _) in metrics.kind_accuracy.items()}
            self._log.write(step, "heldout", record)
        self._say(
            f"step {step}: held out, pair accuracy {metrics.pair_accuracy:.3f}, group accuracy "
            f"{metrics.group_accuracy:.3f}{' (best yet)' if better else ''}"
        )
        if self._progress.stopped:
            self._say(f"no better evaluation for {self._progress.worse_since}: stopped early")

    def _save(self) -> None:
        """A checkpoint, by all ranks together."""
        self._beat.doing(f"saving the checkpoint of step {self._progress.step}")
        box: list[Checkpoint | None] = [self._work.draft(self._progress.step) if self._first else None]
        dist.broadcast_object_list(box, src=0)
        draft = box[0]
        assert draft is not None  # what rank 0 made
        self._rank.save_state(draft.learner_dir)
        if self._first:
            self._work.publish(draft, self._progress, self._best)
        dist.barrier()


class EpochSchedule:
    """Which groups a step shows, as a function of the step alone: epoch after epoch, each in a new order.

    Attributes:
        steps: of the run; ``steps_per_epoch`` show each group once.
        truncated: traces of the groups that were cut to ``max_length``.
    """

    def __init__(self, groups: Sequence[EncodedGroup], config: TrainRmConfig) -> None:
        self._groups = groups
        self._config = config
        self._epoch = -1
        self._sampled: list[list[EncodedTrace]] = []
        self.num_groups = len(groups)
        self.truncated = sum(trace.input.truncated for group in groups for trace in group.traces)
        self.steps_per_epoch = math.ceil(len(groups) / config.groups_per_step)
        self.steps = config.max_steps or config.epochs * self.steps_per_epoch

    def batch(self, step: int) -> list[list[EncodedTrace]]:
        """The groups of a step (from 1), each its positive first; an epoch's last step may have fewer."""
        epoch, place = divmod(step - 1, self.steps_per_epoch)
        if epoch != self._epoch:
            config = self._config
            self._sampled = list(sample_epoch(self._groups, config.negatives_per_group, config.seed, epoch))
            self._epoch = epoch
        start = place * self._config.groups_per_step
        return self._sampled[start : start + self._config.groups_per_step]


def _say_nothing(line: str) -> None:
    """For the ranks that do not report."""


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
