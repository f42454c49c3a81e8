"""From (problem, trace) pairs to the reward model's tensors: tokens, truncation, second input, padding.

Scoring and training both go through here, so a model is asked about exactly what it was trained on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tracelift_ray.reasoning_rm.inputs import RenderedInput, hide_problem, render_input
from tracelift_ray.reasoning_rm.second_input import FrozenLogprobs, align
from tracelift_ray.types import Problem


@dataclass(frozen=True)
class EncodedInput:
    """One RM input as tokens.

    Attributes:
        token_ids: at least one, at most ``max_length``.
        logprobs: as many, NaN where a token has none; None for a model without a second input.
        truncated: whether tokens were cut from the right.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...] | None
    truncated: bool

    def __len__(self) -> int:
        return len(self.token_ids)

    def cut(self, length: int) -> EncodedInput:
        """The same input with at most ``length`` tokens, the rest cut from the right."""
        if len(self) <= length:
            return self
        logprobs = None if self.logprobs is None else self.logprobs[:length]
        return EncodedInput(self.token_ids[:length], logprobs, truncated=True)


@dataclass(frozen=True)
class InputBatch:
    """Right-padded tensors of (B, T), the arguments of ``ReasoningRewardModel.forward``."""

    input_ids: Tensor
    attention_mask: Tensor
    token_logprobs: Tensor | None


class InputEncoder:
    """Tokenizes RM inputs, cutting them on the right at ``max_length`` tokens.

    Args:
        tokenizer: of the backbone; a fast one (with character offsets) where a second input is used.
        frozen: the language model behind the second input, or None.
        show_problem: False for a trace-only model, which reads the trace and its task alone.
    """

    def __init__(
        self, tokenizer: Any, max_length: int, frozen: FrozenLogprobs | None = None, *, show_problem: bool = True
    ) -> None:
        if frozen is not None and not tokenizer.is_fast:
            raise ValueError("the second input needs a fast tokenizer, which knows the characters of each token")
        # Padding is masked and on the right, so any id will do where the tokenizer has none for it.
        self.pad_id: int = tokenizer.pad_token_id or 0
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._frozen = frozen
        self._show_problem = show_problem

    def encode(self, items: Sequence[tuple[Problem, str]]) -> list[EncodedInput]:
        """The tokens of each (problem, trace), in order."""
        if not items:
            return []
        if not self._show_problem:
            items = [(hide_problem(problem), reasoning) for problem, reasoning in items]
        rendered = [render_input(problem, reasoning) for problem, reasoning in items]
        texts = [item.text for item in rendered]
        offsets = self._frozen is not None
        encoded = self._tokenizer(texts, return_offsets_mapping=offsets, padding=False, truncation=False, verbose=False)
        rows: list[list[int]] = encoded["input_ids"]
        logprobs: list[tuple[float, ...] | None] = [None] * len(rows)
        if self._frozen is not None:
            sources = self._frozen.read(items)
            spans = encoded["offset_mapping"]
            logprobs = [_aligned(*row) for row in zip(rendered, spans, sources, strict=True)]
        cut = self._max_length
        return [
            EncodedInput(tuple(ids[:cut]), None if values is None else values[:cut], len(ids) > cut)
            for ids, values in zip(rows, logprobs, strict=True)
        ]


def _aligned(
    rendered: RenderedInput, spans: Sequence[tuple[int, int]], source: Sequence[tuple[int, float]]
) -> tuple[float, ...]:
    """The frozen model's log-probs at the RM's tokens of the trace; NaN at all others."""
    relative = [(start - rendered.start, min(end, rendered.end) - rendered.start) for start, end in spans]
    return tuple(align(relative, source))


def collate(inputs: Sequence[EncodedInput], pad_id: int, device: torch.device | str) -> InputBatch:
    """Pads on the right to the longest of ``inputs``; the attention mask is 1 at tokens and 0 at padding."""
    shape = (len(inputs), max(map(len, inputs)))
    ids = torch.full(shape, pad_id, dtype=torch.long)
    mask = torch.zeros(shape, dtype=torch.long)
    logprobs = torch.full(shape, math.nan) if inputs[0].logprobs is not None else None
    for row, item in enumerate(inputs):
        ids[row, : len(item)] = torch.tensor(item.token_ids)
        mask[row, : len(item)] = 1
        if logprobs is not None and item.logprobs is not None:
            logprobs[row, : len(item)] = torch.tensor(item.logprobs)
    return InputBatch(ids.to(device), mask.to(device), None if logprobs is None else logprobs.to(device))
