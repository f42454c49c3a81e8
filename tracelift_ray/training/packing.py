"""Cutting a batch into micro-batches: which rank runs which samples, in which order.

Promises: the plan is a pure function of its arguments, so every rank computes the same one; every sample is in exactly
one micro-batch; every rank has the same number of micro-batches (ZeRO's collectives hang otherwise), the surplus ones
of a rank being empty; and no micro-batch of more than one sample costs more tokens than the budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class MicroBatchPlan:
    """``ranks[r][m]`` holds the sample indices of micro-batch ``m`` on rank ``r``; empty where that rank idles."""

    ranks: tuple[tuple[tuple[int, ...], ...], ...]

    @property
    def num_micro_batches(self) -> int:
        """Micro-batches per rank, the same for all."""
        return len(self.ranks[0])


def plan_micro_batches(
    lengths: Sequence[int], world_size: int, token_budget: int, *, packed: bool = False
) -> MicroBatchPlan:
    """Plan for samples of ``lengths`` tokens (prompt and completion) over ``world_size`` ranks.

    Samples go longest first (ties by index) to the rank with the fewest tokens so far. Each rank cuts its samples, in
    that order, into micro-batches of at most ``token_budget`` tokens: padded, rows times the longest row; ``packed``,
    the sum of lengths. A sample longer than the budget is a micro-batch alone. No samples: no micro-batches.
    """
    if world_size < 1 or token_budget < 1:
        raise ValueError(f"world_size ({world_size}) and token_budget ({token_budget}) must be at least 1")
    if any(length < 1 for length in lengths):
        raise ValueError("every sample must hold at least one token")
    assigned: list[list[int]] = [[] for _ in range(world_size)]
    load = [0] * world_size
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        rank = min(range(world_size), key=lambda r: (load[r], r))
        assigned[rank].append(index)
        load[rank] += lengths[index]
    cut = [_cut(indices, lengths, token_budget, packed) for indices in assigned]
    count = max(len(batches) for batches in cut)
    return MicroBatchPlan(tuple(tuple(batches + [()] * (count - len(batches))) for batches in cut))


def _cut(indices: list[int], lengths: Sequence[int], token_budget: int, packed: bool) -> list[tuple[int, ...]]:
    """Cut samples, longest first, into micro-batches whose size stays within the budget."""
    batches: list[tuple[int, ...]] = []
    batch: list[int] = []
    for index in indices:
        tokens = sum(lengths[i] for i in batch) if packed else len(batch) * lengths[batch[0]] if batch else 0
        added = lengths[index] if packed or not batch else lengths[batch[0]]
        if batch and tokens + added > token_budget:
            batches.append(tuple(batch))
            batch = []
        batch.append(index)
    return [*batches, tuple(batch)] if batch else batches
