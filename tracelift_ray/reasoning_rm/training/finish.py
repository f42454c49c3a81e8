"""The end of a training run: the best weights become a model that is measured as it is saved.

What is measured is the model as others will load it (adapters merged, weights in the type they are saved in), on every
held-out group. The directory appears whole or not at all, with ``metrics.json`` and ``rm.png`` in it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tracelift_ray.reasoning_rm.model.batching import InputEncoder
from tracelift_ray.reasoning_rm.training.adapters import whole_model
from tracelift_ray.reasoning_rm.training.data import GroupData, encode_groups
from tracelift_ray.reasoning_rm.training.metrics import RmMetrics, measure
from tracelift_ray.reasoning_rm.training.passes import score_groups
from tracelift_ray.reasoning_rm.training.settings import TrainRmConfig
from tracelift_ray.reasoning_rm.training.work import WorkDirectory, best_weights, progress_of
from tracelift_ray.tracking.alive import Heartbeat, heartbeat
from tracelift_ray.training.engine import device_of
from tracelift_ray.training.export import copy_tokenizer, whole_directory, write_model


@dataclass(frozen=True)
class Evaluation:
    """One evaluation while training, on ``eval_groups`` held-out groups."""

    step: int
    pair_accuracy: float
    group_accuracy: float


@dataclass(frozen=True)
class TrainingResult:
    """What a training run did.

    Attributes:
        steps: taken; ``best_step`` is the one whose weights were kept.
        losses: the weighted loss of each step.
        seconds: of steps and evaluations, over all starts of the run.
        truncated: held-out traces that were cut to ``max_length``.
        heldout: quality of the saved model on all held-out groups.
    """

    steps: int
    best_step: int
    train_groups: int
    losses: tuple[float, ...]
    evaluations: tuple[Evaluation, ...]
    seconds: float
    truncated: int
    heldout: RmMetrics


def finish(config: TrainRmConfig, data: GroupData, work: WorkDirectory, say: Callable[[str], None]) -> TrainingResult:
    """Measures and saves the best weights of a run whose last step is in its newest checkpoint."""
    with heartbeat(say, "loading the best weights") as beat:
        return _finish(config, data, work, beat)


def _finish(config: TrainRmConfig, data: GroupData, work: WorkDirectory, beat: Heartbeat) -> TrainingResult:
    newest = work.newest()
    assert newest is not None  # the last step of every run is saved
    progress = progress_of(newest)
    model = whole_model(config, data.names, best_weights(newest))
    encoder = InputEncoder.load(config.model, config.max_length, show_problem=config.show_problem)
    heldout = encode_groups(data.heldout, encoder, config.max_tests)
    beat.say(f"measuring step {progress.best_step} on {len(heldout)} held-out groups")
    torch.nn.Module.to(model, device_of(config.device))
    scored = score_groups(
        model,
        heldout,
        encoder.pad_id,
        batch_tokens=config.eval_batch_tokens,
        share_prefixes=config.share_prefixes,
        dtype=config.dtype,
        watch=partial(beat.doing, "measuring, held-out groups"),
    )
    beat.doing(f"writing {config.output}")
    records = list(work.records())
    result = TrainingResult(
        steps=progress.step,
        best_step=progress.best_step,
        train_groups=len(data.train),
        losses=tuple(record["loss"] for record in records if record["kind"] == "train"),
        evaluations=tuple(
            Evaluation(record["step"], record["pair_accuracy"], record["group_accuracy"])
            for record in records
            if record["kind"] == "heldout"
        ),
        seconds=progress.seconds,
        truncated=sum(trace.input.truncated for group in heldout for trace in group.traces),
        heldout=measure(scored, data.names),
    )
    _save(model, config, result)
    work.discard_checkpoints()
    return result


def _save(model: Any, config: TrainRmConfig, result: TrainingResult) -> None:
    """Writes the model's directory, with what the run says of it."""
    from tracelift_ray.reasoning_rm.figures import draw_training

    with whole_directory(Path(config.output)) as partial:
        write_model(torch.nn.Module.to(model, "cpu"), partial)
        copy_tokenizer(Path(config.model), partial)
        record = {**dataclasses.asdict(result), "config": dataclasses.asdict(config)}
        (partial / "metrics.json").write_text(json.dumps(record, indent=1) + "\n")
        draw_training(result, partial / "rm.png")
