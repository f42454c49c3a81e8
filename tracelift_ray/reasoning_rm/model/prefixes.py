"""Runs the traces of one group through a causal model together, each distinct prefix of tokens once.

The traces of a group share their problem, and a flawed trace usually differs from the good one in one place, so most of
the tokens of a group are the same tokens at the same place behind the same prefix. A causal model computes the same
thing for them, so a group is laid out as a tree: a token's position is its depth, and it attends to its ancestors and
itself. The promise: each sequence's last hidden state, and the gradient, are those of separate rows, to float
tolerance, in any model whose attention is causal and takes a mask (``check_shared_prefixes`` says whether a model is).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tracelift_ray.config.errors import ConfigError

#: Relative difference of hidden states above which a model is said to compute something else on trees.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class PrefixTree:
    """Token sequences as a tree of N tokens, parents before children.

    Attributes:
        token_ids, parents, depths: N each; ``parents[i] < i``, and -1 for the first token of a sequence.
        ends: for each sequence, in the order given, the tree's token that is its last.
        shared: tokens that every sequence begins with.
    """

    token_ids: tuple[int, ...]
    parents: tuple[int, ...]
    depths: tuple[int, ...]
    ends: tuple[int, ...]
    shared: int

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def num_good(self) -> int:
        """How many tokens the first sequence has, which is a good one; they come first."""
        return self.ends[0] + 1

    def path(self, end: int) -> list[int]:
        """The tree's tokens from the first of a sequence to its last, ``end``."""
        path = []
        while end >= 0:
            path.append(end)
            end = self.parents[end]
        return path[::-1]


@dataclass(frozen=True)
class TreeBatch:
    """Trees padded to the longest of T tokens, as arguments of ``ReasoningRewardModel.forward``.

    Attributes:
        input_ids, position_ids: (B, T).
        attention_mask: (B, 1, T, T), true where the row's token may look at the column's.
        ends: (rows, 2), the (tree, token) of each sequence's last token, tree by tree.
    """

    input_ids: Tensor
    position_ids: Tensor
    attention_mask: Tensor
    ends: Tensor


def build_tree(sequences: Sequence[Sequence[int]]) -> PrefixTree:
    """The tree of at least one sequence of at least one token each."""
    places: dict[tuple[int, int], int] = {}
    ids: list[int] = []
    parents: list[int] = []
    depths: list[int] = []
    ends = []
    for sequence in sequences:
        at = -1
        for depth, token in enumerate(sequence):
            parent, at = at, places.setdefault((at, token), len(ids))
            if at == len(ids):
                ids.append(token)
                parents.append(parent)
                depths.append(depth)
        ends.append(at)
    shared = sum(1 for _ in itertools.takewhile(lambda tokens: len(set(tokens)) == 1, zip(*sequences, strict=False)))
    return PrefixTree(tuple(ids), tuple(parents), tuple(depths), tuple(ends), shared)


def collate_trees(trees: Sequence[PrefixTree], pad_id: int, device: torch.device | str) -> TreeBatch:
    """Pads trees on the right; a padding token looks at itself alone, and nothing looks at it."""
    width = max(map(len, trees))
    ids = torch.full((len(trees), width), pad_id, dtype=torch.long)
    positions = torch.zeros(len(trees), width, dtype=torch.long)
    mask = torch.zeros(len(trees), 1, width, width, dtype=torch.bool)
    mask.diagonal(dim1=-2, dim2=-1).fill_(True)
    for row, tree in enumerate(trees):
        ids[row, : len(tree)] = torch.tensor(tree.token_ids)
        positions[row, : len(tree)] = torch.tensor(tree.depths)
        allowed = mask[row, 0].numpy()
        for token, parent in enumerate(tree.parents):
            if parent >= 0:
                allowed[token, : parent + 1] = allowed[parent, : parent + 1]
    ends = torch.tensor([(row, end) for row, tree in enumerate(trees) for end in tree.ends])
    return TreeBatch(ids.to(device), positions.to(device), mask.to(device), ends.to(device))


def good_marks(trees: Sequence[PrefixTree], device: torch.device | str) -> Tensor:
    """(B, T), of each token: 1 where the good one begins so, 0 where it does not, -1 where all do and at padding."""
    marks = torch.full((len(trees), max(map(len, trees))), -1, dtype=torch.long)
    for row, tree in zip(marks, trees, strict=True):
        row[tree.shared : tree.num_good] = 1
        row[tree.num_good : len(tree)] = 0
    return marks.to(device)


@torch.no_grad()
def check_shared_prefixes(backbone: Any) -> None:
    """Compares the hidden states of two short sequences in a tree with those of separate rows.

    Args:
        backbone: a float32 decoder in ``eval`` mode.
    Raises:
        ConfigError: they differ, so the backbone is no plain causal attention model.
    """
    sequences = ([1, 2, 3, 4], [1, 2, 5, 3, 2])
    tree = collate_trees([build_tree(sequences)], 0, backbone.device)
    together = backbone(
        input_ids=tree.input_ids,
        attention_mask=tree.attention_mask,
        position_ids=tree.position_ids,
        use_cache=False,
    ).last_hidden_state[0, tree.ends[:, 1]]
    alone = (torch.tensor([sequence], device=backbone.device) for sequence in sequences)
    apart = torch.cat([backbone(input_ids=ids, use_cache=False).last_hidden_state[:, -1] for ids in alone])
    difference = float((apart - together).abs().max() / apart.abs().max())
    if not difference < _TOLERANCE:
        raise ConfigError(
            "share_prefixes",
            True,
            f"must be false: this backbone computes something else when prefixes are shared (by {difference:.1g})",
        )
