"""Samples as tensors: padded or packed rows, and one flat vector over all completion tokens for everything else.

``padded``: one sample a row, padding on the right. ``packed``: all samples end to end in one row, each with positions
from 0, which tells the attention of transformers models where a sample begins. Promises: the tensors hold the very
token ids and log-probs of the samples (nothing is decoded or encoded again), and the flat vectors list completion
tokens sample by sample, in either layout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tracelift_ray.errors import DataError
from tracelift_ray.types import TrainBatch, TrainSample


@dataclass(frozen=True)
class MicroBatch:
    """One forward pass of B rows, T tokens wide, with N completion tokens in all.

    Attributes:
        input_ids: [B, T].
        attention_mask: [B, T]; None when packed.
        position_ids: [B, T] when packed; else None, positions count from 0 in each row.
        kept: only the last ``kept`` positions of each row need logits.
        chosen: [B, kept], true where a position's logits predict a completion token; N are true, in row order.
        targets, behaviour, advantages, weights: [N]; the loss is the sum of per-token terms times ``weights``.
        segments: [N], the number of the sample that a completion token belongs to, counted from 0.
        lengths: [S], completion tokens of each sample.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor | None
    position_ids: torch.Tensor | None
    kept: int
    chosen: torch.Tensor
    targets: torch.Tensor
    behaviour: torch.Tensor
    advantages: torch.Tensor
    weights: torch.Tensor
    segments: torch.Tensor
    lengths: torch.Tensor


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


def collate(
    samples: Sequence[TrainSample], token_weights: Sequence[float], device: torch.device, *, packed: bool = False
) -> MicroBatch:
    """Tensors of ``samples``, each with the weight of its tokens. No samples: one row without completion tokens."""
    rows = _packed_rows(samples) if packed and samples else _padded_rows(samples)
    input_ids, attention_mask, position_ids, chosen = rows
    targets = [token for sample in samples for token in sample.completion_ids]
    behaviour = [value for sample in samples for value in sample.behaviour_logprobs]
    advantages = [sample.advantage for sample in samples for _ in sample.completion_ids]
    weights = [w for sample, w in zip(samples, token_weights, strict=True) for _ in sample.completion_ids]
    segments = [number for number, sample in enumerate(samples) for _ in sample.completion_ids]
    return MicroBatch(
        input_ids.to(device),
        None if attention_mask is None else attention_mask.to(device),
        None if position_ids is None else position_ids.to(device),
        chosen.shape[1],
        chosen.to(device),
        torch.tensor(targets, dtype=torch.long, device=device),
        torch.tensor(behaviour, dtype=torch.float32, device=device),
        torch.tensor(advantages, dtype=torch.float32, device=device),
        torch.tensor(weights, dtype=torch.float32, device=device),
        torch.tensor(segments, dtype=torch.long, device=device),
        torch.tensor([len(sample.completion_ids) for sample in samples], dtype=torch.long, device=device),
    )


_Rows = tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None, torch.Tensor]


def _padded_rows(samples: Sequence[TrainSample]) -> _Rows:
    """Ids, mask, positions (none) and chosen positions; logits start before the shortest prompt's last token."""
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
    return input_ids, attention_mask, None, chosen


def _packed_rows(samples: Sequence[TrainSample]) -> _Rows:
    """Ids, mask (none), positions and chosen positions of one row."""
    input_ids = torch.tensor([[token for s in samples for token in s.prompt_ids + s.completion_ids]])
    position_ids = torch.cat([torch.arange(len(sample)) for sample in samples]).unsqueeze(0)
    chosen = torch.zeros(input_ids.shape, dtype=torch.bool)
    end = 0
    for sample in samples:
        end += len(sample)
        chosen[0, end - 1 - len(sample.completion_ids) : end - 1] = True
    return input_ids, None, position_ids, chosen


def completion_logits(model: torch.nn.Module, batch: MicroBatch) -> torch.Tensor:
    """Logits [N, V] that predict the completion tokens, from one forward pass of ``model``."""
    output = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        position_ids=batch.position_ids,
        use_cache=False,
        logits_to_keep=batch.kept,
    )
    return output.logits[batch.chosen]


@torch.no_grad()
def check_packing(model: torch.nn.Module, device: torch.device) -> None:
    """Raise DataError where ``model`` does not keep packed samples apart: attention that ignores positions, say.

    Two short samples go through it padded and packed; the second one's logits must not depend on the first.
    """
    samples = [TrainSample((0, 1, 2), (3, 4), (0.0, 0.0), 0.0), TrainSample((2,), (1, 0, 1), (0.0,) * 3, 0.0)]
    padded, packed = (completion_logits(model, collate(samples, (1.0, 1.0), device, packed=p)) for p in (False, True))
    apart, scale = (padded - packed).abs().max().item(), padded.abs().max().item()
    if apart > 0.05 * scale:
        raise DataError(
            f"learner.layout=packed: this model's attention does not keep packed traces apart (logits differ by "
            f"{apart:.3g} of {scale:.3g}); use learner.layout=padded"
        )
