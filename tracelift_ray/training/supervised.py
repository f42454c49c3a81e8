"""Supervised warm start: teaches a planner to write closed, tagged traces, before reinforcement learning can.

Completion-only loss, the mean over the completion tokens of a batch, in one process. Promises: the update does not
depend on ``micro_batch_tokens``; the same seed visits the same examples; ``output`` is written whole or not at all.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tracelift_ray.errors import DataError
from tracelift_ray.tasks.prompts import PromptRenderer, load_tokenizer
from tracelift_ray.tasks.traces import CLOSING_TAG
from tracelift_ray.tracking.alive import Heartbeat, heartbeat
from tracelift_ray.training.engine import EngineSettings, TrainingEngine, alone, collective_of
from tracelift_ray.training.export import copy_tokenizer, whole_directory, write_model
from tracelift_ray.training.logprobs import Distribution
from tracelift_ray.training.microbatches import collate
from tracelift_ray.training.models import check_model_directory, load_causal_lm
from tracelift_ray.training.output_layer import CompletionScorer
from tracelift_ray.training.packing import plan_micro_batches
from tracelift_ray.training.schedule import learning_rate
from tracelift_ray.training.supervised_data import EncodedExample, encode, load_examples
from tracelift_ray.training.supervised_settings import WarmStartConfig
from tracelift_ray.types import TrainSample

Say = Callable[[str], None]
_EVAL_ROWS = 8
_DEADLINE_S = 600.0  # one process has nobody to wait for


@dataclass(frozen=True)
class WarmStartResult:
    """What a warm start did.

    Attributes:
        losses: nats per completion token, by step, before that step's update.
        examples: trained from; ``left_out`` were longer than ``max_length``.
        closed_before, closed_after: share of held-out problems whose greedy trace closes its tag; None: not checked.
    """

    losses: tuple[float, ...]
    examples: int
    left_out: int
    tokens_per_s: float
    seconds: float
    closed_before: float | None
    closed_after: float | None


def warm_start(config: WarmStartConfig, say: Say) -> WarmStartResult:
    """Train ``config.model`` and save it, with its tokenizer, as the Hugging Face directory ``config.output``.

    Args:
        say: is given progress lines.
    Raises:
        DataError: model or data cannot be used.
        CheckpointError: the disk is full.
    """
    with heartbeat(say, f"reading {config.examples}") as beat:
        return _warm_start(config, beat)


def _warm_start(config: WarmStartConfig, beat: Heartbeat) -> WarmStartResult:
    started = time.monotonic()
    torch.manual_seed(config.seed)
    check_model_directory(config.model)
    try:
        renderer = PromptRenderer(load_tokenizer(config.model), config.prompt)
    except ValueError as error:
        raise DataError(str(error)) from error
    examples = load_examples(config.examples, config.format, on_error=config.on_error, limit=config.max_examples)
    encoded, left_out = encode(examples, renderer, config.max_length)
    training, heldout = _split(encoded, config.eval_problems)
    with alone(_engine_settings(config)) as engine:
        device = engine.device.type
        beat.say(f"{len(training)} examples ({left_out} longer than {config.max_length} tokens left out), on {device}")
        beat.doing(f"loading {config.model}")
        model = load_causal_lm(config.model, "float32", gradient_checkpointing=config.gradient_checkpointing)
        engine.begin(model, torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay))
        before = _closed_share(model, renderer.tokenizer, heldout, config, beat, "before")
        losses, tokens_per_s = _train(engine, training, config, beat)
        after = _closed_share(model, renderer.tokenizer, heldout, config, beat, "after")
        beat.doing(f"writing {config.output}")
        with whole_directory(Path(config.output)) as draft:
            write_model(model.to(getattr(torch, config.dtype)), draft)
            copy_tokenizer(Path(config.model), draft)
    seconds = time.monotonic() - started
    return WarmStartResult(tuple(losses), len(training), left_out, tokens_per_s, seconds, before, after)


def _engine_settings(config: WarmStartConfig) -> EngineSettings:
    """One rank, whose weights and gradients are float32 in either ``dtype``."""
    return EngineSettings(
        owner="warm_start",
        collective=collective_of(config.device),
        zero_stage=0,
        dtype="float32",
        grad_clip=config.grad_clip,
        startup_s=_DEADLINE_S,
        deadline_s=_DEADLINE_S,
        autocast=config.dtype == "bfloat16",
    )


def _split(encoded: list[EncodedExample], eval_problems: int) -> tuple[list[EncodedExample], dict[str, EncodedExample]]:
    """Training examples, and one example of each of the last ``eval_problems`` problems, none of which is trained on.

    At most half of the problems are held out.
    """
    ids = list(dict.fromkeys(item.example.problem.id for item in encoded))
    chosen = set(ids[len(ids) - min(eval_problems, len(ids) // 2) :])
    heldout = {item.example.problem.id: item for item in encoded if item.example.problem.id in chosen}
    return [item for item in encoded if item.example.problem.id not in chosen], heldout


def _train(
    engine: TrainingEngine, examples: Sequence[EncodedExample], config: WarmStartConfig, beat: Heartbeat
) -> tuple[list[float], float]:
    """All optimizer steps; the loss of each, and completion and prompt tokens per second."""
    engine.model.train()
    scorer = CompletionScorer(engine.model, engine.device)
    batches = _batches(examples, config.batch_size, config.seed)
    losses: list[float] = []
    started = time.monotonic()
    tokens = 0
    for step in range(config.steps):
        beat.doing("training, steps", step, config.steps)
        rate = _rate(config, step)
        batch = next(batches)
        losses.append(_accumulate(engine, scorer, batch, config.micro_batch_tokens))
        engine.step(rate)
        tokens += sum(map(len, batch))
        elapsed = time.monotonic() - started
        if (step + 1) % config.log_every == 0 or step + 1 == config.steps:
            recent = losses[-config.log_every :]
            left = elapsed / (step + 1) * (config.steps - step - 1)
            beat.say(
                f"step {step + 1}/{config.steps}  loss {sum(recent) / len(recent):.3f}  lr {rate(config.lr):.1e}  "
                f"{tokens / elapsed:.0f} tokens/s  {_clock(left)} left"
            )
    return losses, tokens / (time.monotonic() - started)


def _rate(config: WarmStartConfig, step: int) -> Callable[[float], float]:
    """The schedule at one step: from the peak of the learning rate to the rate."""
    return lambda peak: learning_rate(
        step, config.steps, peak=peak, schedule=config.schedule, warmup_steps=config.warmup_steps
    )


def _accumulate(
    engine: TrainingEngine, scorer: CompletionScorer, batch: Sequence[EncodedExample], micro_batch_tokens: int
) -> float:
    """Accumulate the gradient of one batch's mean negative log-likelihood; its value."""
    total = sum(len(item.completion_ids) for item in batch)
    plan = plan_micro_batches([len(item) for item in batch], 1, micro_batch_tokens)
    values: list[float] = []

    def loss(indices: Sequence[int]) -> torch.Tensor:
        chosen = [batch[index] for index in indices]
        samples = [TrainSample(e.prompt_ids, e.completion_ids, (0.0,) * len(e.completion_ids), 0.0) for e in chosen]
        tensors = collate(samples, [1.0 / total] * len(samples), engine.device)
        value = -(scorer.scores(tensors, Distribution(1.0))[0] * tensors.weights).sum()
        values.append(value.item())
        return value

    engine.accumulate(plan.ranks[0], loss)
    return sum(values)


def _batches(examples: Sequence[EncodedExample], size: int, seed: int) -> Iterator[list[EncodedExample]]:
    """Batches without end, each pass over the examples in a new order; a batch may span two passes."""
    order = random.Random(seed)
    queue: list[EncodedExample] = []
    while True:
        while len(queue) < size:
            queue += order.sample(list(examples), len(examples))
        yield queue[:size]
        queue = queue[size:]


def _closed_share(
    model: Any, tokenizer: Any, heldout: dict[str, EncodedExample], config: WarmStartConfig, beat: Heartbeat, when: str
) -> float | None:
    """Share of held-out problems whose greedy trace closes its tag within ``eval_tokens``; None without any."""
    if not heldout:
        return None
    model.eval()
    items = sorted(heldout.values(), key=lambda item: len(item.prompt_ids))
    closed = 0
    for start in range(0, len(items), _EVAL_ROWS):
        rows = [item.prompt_ids for item in items[start : start + _EVAL_ROWS]]
        closed += sum(CLOSING_TAG in text for text in _greedy(model, tokenizer, rows, config.eval_tokens, beat))
    share = closed / len(items)
    beat.say(f"{when}: {closed} of {len(items)} held-out traces close their tag ({share:.2f})")
    return share


@torch.no_grad()
def _greedy(
    model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], max_new_tokens: int, beat: Heartbeat
) -> list[str]:
    """Greedy completions, each ending with the closing tag where it comes."""
    made = 0

    def announce(rows: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Called for each token; stops nothing."""
        nonlocal made
        made += 1
        beat.doing("held-out traces, tokens at most", made, max_new_tokens)
        return torch.zeros(len(rows), dtype=torch.bool, device=rows.device)

    width = max(map(len, prompts))
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id or 0
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts], device=model.device)
    output = model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=max_new_tokens,
        do_sample=False,
        pad_token_id=pad,
        stop_strings=[CLOSING_TAG],
        stopping_criteria=[announce],
        tokenizer=tokenizer,
    )
    return tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
