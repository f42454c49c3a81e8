"""From (problem, trace) pairs to the reward model's tensors: tokens, truncation, padding, batches of a bounded size.

Scoring and training both go through here, so a model is asked about exactly what it was trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer

from tracelift_ray.reasoning_rm.model.inputs import hide_problem, render_input
from tracelift_ray.types import Problem


@dataclass(frozen=True)
class EncodedInput:
    """One RM input as tokens.

    Attributes:
        token_ids: at least one, at most ``max_length``.
        truncated: whether tokens were cut from the right.
    """

    token_ids: tuple[int, ...]
    truncated: bool

    def __len__(self) -> int:
        return len(self.token_ids)

    def cut(self, length: int) -> EncodedInput:
        """The same input with at most ``length`` tokens, the rest cut from the right."""
        return self if len(self) <= length else EncodedInput(self.token_ids[:length], truncated=True)


class InputEncoder:
    """Tokenizes RM inputs, cutting them on the right at ``max_length`` tokens.

    Args:
        tokenizer: of the backbone.
        show_problem: False for a trace-only model, which reads the trace and its task alone.
    """

    def __init__(self, tokenizer: Any, max_length: int, *, show_problem: bool = True) -> None:
        # Padding is masked and on the right, so any id will do where the tokenizer has none for it.
        self.pad_id: int = tokenizer.pad_token_id or 0
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._show_problem = show_problem

    @classmethod
    def load(cls, path: str | Path, max_length: int, *, show_problem: bool) -> InputEncoder:
        """With the tokenizer in the directory of a backbone or a reward model."""
        return cls(AutoTokenizer.from_pretrained(str(path)), max_length, show_problem=show_problem)

    def encode(self, items: Sequence[tuple[Problem, str]]) -> list[EncodedInput]:
        """The tokens of each (problem, trace), in order."""
        if not items:
            return []
        if not self._show_problem:
            items = [(hide_problem(problem), reasoning) for problem, reasoning in items]
        texts = [render_input(problem, reasoning).text for problem, reasoning in items]
        rows: list[list[int]] = self._tokenizer(texts, padding=False, truncation=False, verbose=False)["input_ids"]
        cut = self._max_length
        return [EncodedInput(tuple(ids[:cut]), len(ids) > cut) for ids in rows]


def collate(inputs: Sequence[EncodedInput], pad_id: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask (1 at tokens, 0 at padding), both (B, T): padded on the right to the longest."""
    shape = (len(inputs), max(map(len, inputs)))
    ids = torch.full(shape, pad_id, dtype=torch.long)
    mask = torch.zeros(shape, dtype=torch.long)
    for row, item in enumerate(inputs):
        ids[row, : len(item)] = torch.tensor(item.token_ids)
        mask[row, : len(item)] = 1
    return ids.to(device), mask.to(device)


def budget_batches(lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Yields positions, longest first, in batches whose padded size (count x longest) is at most ``max_tokens``.

    A sequence longer than the budget is a batch alone. Every position comes exactly once.
    """
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    while order:
        count = max(1, max_tokens // max(1, lengths[order[0]]))
        yield order[:count]
        order = order[count:]
