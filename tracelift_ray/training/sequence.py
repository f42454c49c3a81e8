"""One micro-batch over several ranks (DeepSpeed Ulysses, arXiv 2309.14509): each computes a stretch of every row.

The ranks of a group hold the same micro-batch. Around attention, an all-to-all turns a stretch with all heads into the
whole rows with some of the heads, and back; all else in a model looks at one position at a time. Promises: scores and
gradients are those of the whole rows; a model for which this does not hold is refused at the start.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from tracelift_ray.training.microbatches import MicroBatch
from tracelift_ray.training.ranks import RankPlace

#: The name under which transformers finds the attention that is exchanged.
ATTENTION = "ulysses_of_tracelift"


@dataclass(frozen=True)
class SequenceGroup:
    """This rank's place, 0 to ``size - 1``, among the ranks that share its micro-batches."""

    group: Any
    rank: int
    size: int

    def stretch(self, batch: MicroBatch) -> tuple[MicroBatch, Tensor]:
        """This rank's part of a padded batch, and which of the batch's completion tokens it predicts [n]."""
        rows, width = batch.input_ids.shape
        share = -(-width // self.size)
        padding = share * self.size - width
        own = slice(self.rank * share, (self.rank + 1) * share)
        chosen = F.pad(batch.chosen, (width - batch.kept, padding))
        numbers = torch.zeros_like(chosen, dtype=torch.long)
        numbers[chosen] = torch.arange(len(batch.targets), device=numbers.device)
        chosen, mine = chosen[:, own], numbers[:, own][chosen[:, own]]
        part = replace(
            batch,
            input_ids=F.pad(batch.input_ids, (0, padding))[:, own],
            attention_mask=None,
            position_ids=torch.arange(own.start, own.stop, device=chosen.device).expand(rows, share),
            kept=share,
            chosen=chosen,
            targets=batch.targets[mine],
        )
        return part, mine

    def together(self, part: Tensor, mine: Tensor, count: int) -> Tensor:
        """The group's values [count] from those of this rank's tokens ``mine`` [n]. Every rank makes the same loss of
        them, and the gradient of a value goes to the rank that it came from, once."""
        found: Tensor = _Together.apply(part, mine, count, self.group)
        return found


class _Together(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor, mine: Tensor, count: int, group: Any) -> Tensor:
        ctx.save_for_backward(mine)
        whole = part.new_zeros(count)
        whole[mine] = part
        dist.all_reduce(whole, group=group)
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (mine,) = ctx.saved_tensors
        return gradients[0][mine], None, None, None


def sequence_group(place: RankPlace, size: int, deadline_s: float) -> SequenceGroup | None:
    """The group of this rank: ``size`` ranks in a row, whose exchanges give up after ``deadline_s``. None for groups of
    one. Collective."""
    if size == 1:
        return None
    firsts = range(0, place.world_size, size)
    timeout = timedelta(seconds=deadline_s)
    groups = [dist.new_group(list(range(first, first + size)), timeout=timeout) for first in firsts]
    return SequenceGroup(groups[place.rank // size], place.rank % size, size)


def exchange_attention(model: Any, sequence: SequenceGroup) -> None:
    """From now on ``model`` takes stretches of rows."""
    from deepspeed.sequence.layer import DistributedAttention
    from transformers import AttentionInterface, AttentionMaskInterface

    exchanged = DistributedAttention(_causal, sequence.group, scatter_idx=2, gather_idx=1)

    def attention(
        module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **settings: Any
    ) -> tuple[Tensor, None]:
        heads = query.shape[1]
        if key.shape[1] % sequence.size:  # fewer heads of keys than ranks
            key, value = (each.repeat_interleave(heads // each.shape[1], dim=1) for each in (key, value))
        by_position = [each.transpose(1, 2).contiguous() for each in (query, key, value)]
        return exchanged(*by_position, batch_dim_idx=0, scale=settings.get("scaling")), None

    AttentionInterface.register(ATTENTION, attention)
    AttentionMaskInterface.register(ATTENTION, lambda *args, **kwargs: None)
    model.set_attn_implementation(ATTENTION)


def _causal(query: Tensor, key: Tensor, value: Tensor, *, scale: float | None) -> Tensor:
    """Attention of whole rows [B, T, heads, D] on some heads. Padding is on the right, where no token looks."""
    query, key, value = (each.transpose(1, 2) for each in (query, key, value))
    found = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale, enable_gqa=True)
    return found.transpose(1, 2).contiguous()


def obstacle(model: Any, size: int) -> str:
    """Why a model cannot be divided so, as a clause; empty where nothing is known that stands in the way."""
    config = model.config.get_text_config()
    if config.num_attention_heads % size:
        return f"its {config.num_attention_heads} attention heads do not divide by it"
    if getattr(config, "sliding_window", None) or set(getattr(config, "layer_types", None) or ()) - {"full_attention"}:
        return "not all of its layers attend to whole rows"
    return ""
