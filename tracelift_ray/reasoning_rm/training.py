"""Trains a reasoning RM from TraceLift-Groups, measures it on held-out problems, and saves it whole or not at all.

The promise: the same configuration, data and machine give the same model; how a step's groups are cut into forward
passes changes nothing but memory and time.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoTokenizer, PreTrainedModel

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.data.groups import TraceGroup, load_groups
from tracelift_ray.reasoning_rm.batching import InputEncoder, collate
from tracelift_ray.reasoning_rm.budget import budget_batches
from tracelift_ray.reasoning_rm.dataset import (
    EncodedGroup,
    EncodedTrace,
    dimension_names,
    encode_groups,
    sample_epoch,
    split_groups,
)
from tracelift_ray.reasoning_rm.losses import RubricTargets, rubric_loss
from tracelift_ray.reasoning_rm.metrics import RmMetrics, ScoredGroup, ScoredTrace, measure
from tracelift_ray.reasoning_rm.model import ReasoningRewardModel, RubricOutput
from tracelift_ray.reasoning_rm.second_input import FrozenLogprobs
from tracelift_ray.reasoning_rm.settings import TrainRmConfig
from tracelift_ray.types import DataError


@dataclass(frozen=True)
class TrainingResult:
    """What a training run did.

    Attributes:
        losses: the weighted loss of each step.
        seconds: of the steps alone.
        truncated: traces, trained on or held out, that were cut to ``max_length``.
        heldout: quality on the held-out groups after the last step.
    """

    steps: int
    train_groups: int
    losses: tuple[float, ...]
    seconds: float
    truncated: int
    heldout: RmMetrics


def train(config: TrainRmConfig, say: Callable[[str], None] = print) -> TrainingResult:
    """Runs a whole training and leaves the model, its tokenizer and ``metrics.json`` in ``config.output``.

    Args:
        say: receives progress lines.

    Raises:
        DataError: the groups cannot be read or split, or ``output`` exists already.
        ConfigError: the learning rate is so high that the gradient is no number any more.
        RewardModelError: ``model`` is no backbone.
    """
    output = Path(config.output)
    if output.exists():
        raise DataError(f"output={output} exists already; name another directory or remove it")
    loaded = load_groups(config.groups, config.on_error)
    say(loaded.report.summary())
    kept, held = split_groups(loaded.groups, config.heldout_fraction)
    trainer = RmTrainer(config, dimension_names({group.task for group in loaded.groups}), say)
    result = trainer.run(kept, held)
    trainer.save(output, result)
    return result


class RmTrainer:
    """Model, optimizer and schedule of one training run."""

    def __init__(self, config: TrainRmConfig, names: Sequence[str], say: Callable[[str], None]) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self._say = say
        self._names = names
        cuda = torch.cuda.is_available() if config.device == "auto" else config.device == "cuda"
        self._device = torch.device("cuda" if cuda else "cpu")
        self.model = ReasoningRewardModel.from_backbone(
            config.model, dimension_names=names, dropout=config.dropout, second_input_model=config.second_input_model
        )
        self._tokenizer: Any = AutoTokenizer.from_pretrained(config.model)
        if config.gradient_checkpointing:
            self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self._adapters = add_adapters(self.model, config) if config.lora.rank else None
        nn.Module.to(self.model, self._device)
        frozen = None
        if config.second_input_model is not None:
            path = (Path(config.output) / config.second_input_model).resolve()
            frozen = FrozenLogprobs(path, self._device, config.eval_batch_tokens)
        self._encoder = InputEncoder(self._tokenizer, config.max_length, frozen)

    def run(self, train_groups: Sequence[TraceGroup], heldout_groups: Sequence[TraceGroup]) -> TrainingResult:
        """Trains on the first groups, measures on the second."""
        config = self.config
        groups = encode_groups(train_groups, self._encoder, config.max_tests)
        heldout = encode_groups(heldout_groups, self._encoder, config.max_tests)
        steps_per_epoch = math.ceil(len(groups) / config.groups_per_step)
        steps = config.max_steps or config.epochs * steps_per_epoch
        truncated = sum(trace.input.truncated for group in (*groups, *heldout) for trace in group.traces)
        self._say(f"training on {len(groups)} groups for {steps} steps, {len(heldout)} held out, {truncated} cut")
        started = time.monotonic()
        losses = self._optimize(groups, steps)
        seconds = time.monotonic() - started
        return TrainingResult(steps, len(groups), tuple(losses), seconds, truncated, self.evaluate(heldout))

    def evaluate(self, groups: Sequence[EncodedGroup]) -> RmMetrics:
        """Scores every trace of every group, without dropout."""
        self.model.eval()
        traces = [trace for group in groups for trace in group.traces]
        scored: dict[int, ScoredTrace] = {}
        for positions in budget_batches([len(trace.input) for trace in traces], self.config.eval_batch_tokens):
            chosen = [traces[position] for position in positions]
            with torch.inference_mode(), self._arithmetic():
                output = self._forward(chosen)
            scored.update(zip(positions, _scored(chosen, output), strict=True))
        places = iter(range(len(traces)))
        result = [
            ScoredGroup(
                tuple(scored[next(places)] for _ in group.positives),
                tuple(scored[next(places)] for _ in group.negatives),
            )
            for group in groups
        ]
        return measure(result, self._names)

    def save(self, output: Path, result: TrainingResult) -> None:
        """Writes the model in the type of ``dtype``; the directory appears whole or not at all."""
        model: PreTrainedModel = self._adapters.merge_and_unload() if self._adapters is not None else self.model
        partial = output.with_name(f".{output.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        model.to(getattr(torch, self.config.dtype)).save_pretrained(partial)
        self._tokenizer.save_pretrained(partial)
        record = {**dataclasses.asdict(result), "config": dataclasses.asdict(self.config)}
        (partial / "metrics.json").write_text(json.dumps(record, indent=1) + "\n")
        partial.rename(output)

    def _optimize(self, groups: Sequence[EncodedGroup], steps: int) -> list[float]:
        """``steps`` optimizer steps; returns each step's loss."""
        optimizer = make_optimizer(self.model, self.config)
        warmup = min(self.config.warmup_steps, steps - 1)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_share(step, steps, warmup))
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.model.train()
        losses: list[float] = []
        started = time.monotonic()
        for step, batch in zip(range(1, steps + 1), self._batches(groups), strict=False):
            losses.append(self._accumulate(batch))
            norm = float(nn.utils.clip_grad_norm_(trained, self.config.grad_clip))
            if not math.isfinite(norm):
                raise ConfigError("lr", self.config.lr, f"gives a gradient that is not a number (step {step})")
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            if step % self.config.log_every == 0 or step == steps:
                recent = losses[-self.config.log_every :]
                left = (time.monotonic() - started) / step * (steps - step)
                self._say(f"step {step}/{steps}  loss {sum(recent) / len(recent):.4f}  {_clock(left)} left")
        return losses

    def _batches(self, groups: Sequence[EncodedGroup]) -> Iterator[list[list[EncodedTrace]]]:
        """The sampled groups of each step, epoch after epoch; an epoch's last step may be smaller."""
        epoch = 0
        while True:
            sampled = list(sample_epoch(groups, self.config.negatives_per_group, self.config.seed, epoch))
            for start in range(0, len(sampled), self.config.groups_per_step):
                yield sampled[start : start + self.config.groups_per_step]
            epoch += 1

    def _accumulate(self, batch: Sequence[Sequence[EncodedTrace]]) -> float:
        """Adds the gradient of one step's groups, a few of them at a time; returns their loss."""
        loss = 0.0
        num_traces = sum(map(len, batch))
        for start in range(0, len(batch), self.config.groups_per_forward):
            chosen = batch[start : start + self.config.groups_per_forward]
            rows = [trace for group in chosen for trace in group]
            targets = RubricTargets(
                torch.tensor([row.labels for row in rows], device=self._device),
                torch.tensor([row.total for row in rows], device=self._device),
                tuple(map(len, chosen)),
            )
            with self._arithmetic():
                output = self._forward(rows)
            terms = rubric_loss(output, targets, self.config.loss, num_traces=num_traces, num_groups=len(batch))
            terms.total.backward()
            loss += float(terms.total.detach())
        return loss

    def _forward(self, traces: Sequence[EncodedTrace]) -> RubricOutput:
        batch = collate([trace.input for trace in traces], self._encoder.pad_id, self._device)
        return self.model(batch.input_ids, batch.attention_mask, batch.token_logprobs)

    def _arithmetic(self) -> AbstractContextManager[Any]:
        return torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self.config.dtype == "bfloat16")


def add_adapters(model: ReasoningRewardModel, config: TrainRmConfig) -> Any:
    """Puts LoRA adapters into the backbone's linear layers and freezes its other weights; heads stay trained."""
    from peft import LoraConfig, get_peft_model

    targets = [f"model.{name}" for name, module in model.model.named_modules() if isinstance(module, nn.Linear)]
    if not targets:
        raise ConfigError("lora.rank", config.lora.rank, "must be 0: the backbone has no linear layers to adapt")
    lora = config.lora
    settings = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets)
    wrapped = get_peft_model(model, settings)
    for name, parameter in model.named_parameters():
        if not name.startswith("model."):
            parameter.requires_grad_(True)
    return wrapped


def make_optimizer(model: ReasoningRewardModel, config: TrainRmConfig) -> torch.optim.AdamW:
    """AdamW with ``lr`` for the backbone, ``head_lr`` for what is new, weight decay on matrices only."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith("model."), parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": config.lr if backbone else config.head_lr,
                "weight_decay": config.weight_decay if matrix else 0.0,
            }
            for (backbone, matrix), parameters in groups.items()
        ]
    )


def learning_rate_share(step: int, steps: int, warmup: int) -> float:
    """The share of the peak rate at ``step`` (from 0): a linear rise over ``warmup`` steps, then a cosine to 0."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _scored(traces: Sequence[EncodedTrace], output: RubricOutput) -> list[ScoredTrace]:
    predicted = output.label_logits.argmax(-1).tolist()
    rows = zip(traces, predicted, output.total.tolist(), output.score.tolist(), strict=True)
    return [ScoredTrace(t.labels, tuple(labels), t.total, total, q, t.kind) for t, labels, total, q in rows]


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
