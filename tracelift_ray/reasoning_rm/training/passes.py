"""Groups through the reward model: forward passes over whole groups, and what they cost in tokens.

Rows of an output lie group by group, each group's traces in their order, however the groups were laid out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tracelift_ray.reasoning_rm.model.batching import budget_batches, collate
from tracelift_ray.reasoning_rm.model.prefixes import PrefixTree, build_tree, collate_trees
from tracelift_ray.reasoning_rm.model.reward_model import RubricOutput
from tracelift_ray.reasoning_rm.training.data import EncodedGroup, EncodedTrace
from tracelift_ray.reasoning_rm.training.metrics import ScoredGroup, ScoredTrace

#: Learns how many groups are scored, of how many.
Watch = Callable[[int, int], None]


def watch_nothing(done: int, total: int) -> None:
    """Where nobody looks."""


@dataclass(frozen=True)
class PreparedGroup:
    """Traces of one problem that go through the model together.

    Attributes:
        tree: their tokens with shared prefixes; None where each trace is a separate row.
    """

    traces: tuple[EncodedTrace, ...]
    tree: PrefixTree | None

    @property
    def tokens(self) -> int:
        """What the group costs, padding between its own rows included."""
        if self.tree is not None:
            return len(self.tree)
        return len(self.traces) * max(len(trace.input) for trace in self.traces)


def prepare(traces: Sequence[EncodedTrace], share_prefixes: bool) -> PreparedGroup:
    """One group, its (first) positive first."""
    tree = build_tree([trace.input.token_ids for trace in traces]) if share_prefixes else None
    return PreparedGroup(tuple(traces), tree)


def forward(model: Any, groups: Sequence[PreparedGroup], pad_id: int, device: torch.device) -> RubricOutput:
    """The output for every trace of at least one group, all prepared in the same way."""
    trees = [group.tree for group in groups if group.tree is not None]
    if trees:
        tree = collate_trees(trees, pad_id, device)
        return model(tree.input_ids, tree.attention_mask, position_ids=tree.position_ids, ends=tree.ends)
    return model(*collate([trace.input for group in groups for trace in group.traces], pad_id, device))


def score_groups(
    model: Any,
    groups: Sequence[EncodedGroup],
    pad_id: int,
    *,
    batch_tokens: int,
    share_prefixes: bool,
    dtype: str,
    watch: Watch = watch_nothing,
) -> list[ScoredGroup]:
    """What a model in ``eval`` mode says of every trace of every group.

    Args:
        batch_tokens: of one pass, padding included.
        dtype: of the arithmetic, ``float32`` or ``bfloat16``.
    """
    prepared = [prepare(group.traces, share_prefixes) for group in groups]
    scored: dict[int, list[ScoredTrace]] = {}
    with torch.autocast(model.device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
        for positions in budget_batches([group.tokens for group in prepared], batch_tokens):
            scored |= score_pass(model, prepared, positions, pad_id, model.device)
            watch(len(scored), len(prepared))
    return [group.with_traces(scored[position]) for position, group in enumerate(groups)]


@torch.no_grad()
def score_pass(
    model: Any, groups: Sequence[PreparedGroup], positions: Sequence[int], pad_id: int, device: torch.device
) -> dict[int, list[ScoredTrace]]:
    """What the model says of every trace of the groups at ``positions``, from one pass; by position."""
    chosen = [groups[position] for position in positions]
    output = forward(model, chosen, pad_id, device)
    predicted = output.label_logits.argmax(-1).tolist()
    rows = zip(predicted, output.total.tolist(), output.score.tolist(), strict=True)

    def scored(trace: EncodedTrace) -> ScoredTrace:
        labels, total, score = next(rows)
        return ScoredTrace(trace.labels, tuple(labels), trace.total, total, score, trace.length, trace.kind)

    return {p: [scored(trace) for trace in group.traces] for p, group in zip(positions, chosen, strict=True)}
