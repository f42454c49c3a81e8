"""Samples as tensors: right-padded rows, and one flat vector over all completion tokens for everything else.

Promises: the tensors hold the very token ids and log-probs of the samples (nothing is decoded or encoded again), and
the flat vectors list completion tokens sample by sample, whatever the padding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tracelift_ray.types import TrainBatch, TrainSample


@dataclass(frozen=True)
class MicroBatch:
    """One forward pass of B rows, T tokens wide, with N completion tokens in all.

    Attributes:
        input_ids, attention_mask: [B, T].
        kept: only the last ``kept`` positions of each row need logits.
        chosen: [B, kept], true where a position's logits predict a completion token; N are true, in row order.
        targets, behaviour, advantages, weights: [N]; the loss is the sum of per-token terms times ``weights``.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    kept: int
    chosen: torch.Tensor
    targets: torch.Tensor
    behaviour: torch.Tensor
    advantages: torch.Tensor
    weights: torch.Tensor


def check_batch(batch: TrainBatch) -> None:
    """Raise ValueError where a batch cannot be trained on: sizes that disagree, empty parts, numbers not finite."""
    for number, sample in enumerate(batch.samples):
        if not sample.prompt_ids or not sample.completion_ids:
            raise ValueError(f"sample {number} of the batch has an empty prompt or completion")
        if len(sample.behaviour_logprobs) != len(sample.completion_ids):
            raise ValueError(
                f"sample {number} of the batch has {len(sample.completion_ids)} completion tokens but "
                f"{len(sample.behaviour_logprobs)} behaviour log-probs; was the planner sampled with logprobs=True?"
            )
        if not math.isfinite(sample.advantage) or not all(map(math.isfinite, sample.behaviour_logprobs)):
            raise ValueError(f"sample {number} of the batch has an advantage or log-prob that is not finite")
    tokens = sum(len(sample.completion_ids) for sample in batch.samples)
    if batch.num_traces < len(batch.samples) or batch.num_tokens < tokens:
        raise ValueError(
            f"the batch counts {batch.num_traces} traces and {batch.num_tokens} tokens, but holds "
            f"{len(batch.samples)} samples with {tokens}; the counts include every unmasked trace"
        )


def collate(samples: Sequence[TrainSample], token_weights: Sequence[float], device: torch.device) -> MicroBatch:
    """Tensors of ``samples``, each with the weight of its tokens. No samples: one row without completion tokens."""
    width = max((len(sample) for sample in samples), default=1)
    first = min((len(sample.prompt_ids) for sample in samples), default=1) - 1
    rows = max(1, len(samples))
    input_ids = torch.zeros(rows, width, dtype=torch.long)
    attention_mask = torch.zeros(rows, width, dtype=torch.long)
    chosen = torch.zeros(rows, width - first, dtype=torch.bool)
    if not samples:
        attention_mask[:] = 1
    for row, sample in enumerate(samples):
        input_ids[row, : len(sample)] = torch.tensor(sample.prompt_ids + sample.completion_ids)
        attention_mask[row, : len(sample)] = 1
        start = len(sample.prompt_ids) - 1 - first
        chosen[row, start : start + len(sample.completion_ids)] = True
    targets = [token for sample in samples for token in sample.completion_ids]
    behaviour = [value for sample in samples for value in sample.behaviour_logprobs]
    advantages = [sample.advantage for sample in samples for _ in sample.completion_ids]
    weights = [w for sample, w in zip(samples, token_weights, strict=True) for _ in sample.completion_ids]
    return MicroBatch(
        input_ids.to(device),
        attention_mask.to(device),
        width - first,
        chosen.to(device),
        torch.tensor(targets, dtype=torch.long, device=device),
        torch.tensor(behaviour, dtype=torch.float32, device=device),
        torch.tensor(advantages, dtype=torch.float32, device=device),
        torch.tensor(weights, dtype=torch.float32, device=device),
    )


def completion_logits(model: torch.nn.Module, batch: MicroBatch) -> torch.Tensor:
    """Logits [N, V] that predict the completion tokens, from one forward pass of ``model``."""
    output = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        use_cache=False,
        logits_to_keep=batch.kept,
    )
    return output.logits[batch.chosen]
