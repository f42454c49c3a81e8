"""An optional second input of the reasoning RM: how likely a frozen language model finds each token of the trace.

A small backbone hardly learns to check arithmetic from text alone; a frozen executor that has learned to follow traces
is surprised by a wrong step, and its surprise can be shown to the reward model. The frozen model reads the trace in
its own prompt, and its log-probs are aligned to the reward model's tokens by character position within the trace, so
that nothing depends on how the two prompts are tokenized around it. Its weights are no part of the reward model.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tracelift_ray.reasoning_rm.budget import budget_batches
from tracelift_ray.types import DataError, Problem

LOGPROB_INPUT = "lm_logprob"  # the value of rm_second_input
CLAMP = 8.0  # log-probs below -8 count as -8
SCALE = 4.0  # log-probs are divided by this, so that they lie in [-2, 0]
SURPRISING = -1.6  # a log-prob below this (probability under 0.2) marks its token as surprising

Span = tuple[int, int]


class LogprobEmbedding(nn.Module):
    """Adds to each token's embedding one learned vector times its scaled log-prob, and another where it surprises."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.logprob = nn.Parameter(torch.randn(hidden_size) * 0.02)
        self.surprising = nn.Parameter(torch.randn(hidden_size) * 0.02)

    def forward(self, token_logprobs: Tensor) -> Tensor:
        """(B, T), NaN where a token has no log-prob -> (B, T, hidden), zero at those tokens."""
        known = ~token_logprobs.isnan()
        value = torch.where(known, token_logprobs, torch.zeros_like(token_logprobs)).clamp(-CLAMP, 0.0)
        scaled = (value / SCALE).to(self.logprob.dtype)
        surprising = (known & (value < SURPRISING)).to(self.surprising.dtype)
        return scaled[..., None] * self.logprob + surprising[..., None] * self.surprising


def executor_text(problem: Problem, reasoning: str) -> tuple[str, Span]:
    """What the frozen model reads, in the words of the ``demo`` prompt, and the characters of the trace in it."""
    head = f"<{problem.task}> {problem.statement.strip()} <reasoning> "
    trace = reasoning.strip()
    return f"{head}{trace} </reasoning>", (len(head), len(head) + len(trace))


def align(spans: Sequence[Span], source: Sequence[tuple[int, float]]) -> list[float]:
    """Gives each character span the sum of the log-probs whose token starts in it; NaN where none does.

    Args:
        spans: the reward model's tokens, [start, end) in characters from the trace's start.
        source: (start, log-prob) of the frozen model's tokens, on the same scale.
    """
    values = [math.nan] * len(spans)
    filled = [position for position, (start, end) in enumerate(spans) if end > start]
    starts = [spans[position][0] for position in filled]
    for at, logprob in source:
        nearest = bisect_right(starts, at) - 1
        if nearest < 0 or at >= spans[filled[nearest]][1]:
            continue
        position = filled[nearest]
        values[position] = logprob if math.isnan(values[position]) else values[position] + logprob
    return values


class FrozenLogprobs:
    """A frozen causal language model that is asked for the log-probs of traces.

    Args:
        path: its Hugging Face directory, with a fast tokenizer.
        device: where it runs, in float32.
        max_batch_tokens: padded tokens of one forward pass.

    Raises:
        DataError: there is no model in ``path``.
    """

    def __init__(self, path: str | Path, device: str | torch.device = "cpu", max_batch_tokens: int = 8192) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        if not (Path(path) / "config.json").is_file():
            raise DataError(f"the second input's model {path} is no model directory; put the frozen model there")
        self._tokenizer: Any = AutoTokenizer.from_pretrained(str(path))
        model: Any = AutoModelForCausalLM.from_pretrained(str(path), dtype=torch.float32)
        self._model = model.to(device).eval()
        self._context: int = self._model.config.max_position_embeddings
        self._max_batch_tokens = max_batch_tokens
        self._device = device

    def read(self, items: Sequence[tuple[Problem, str]]) -> list[list[tuple[int, float]]]:
        """For each (problem, trace): (start character within the trace, log-prob) of the trace's tokens, in order.

        Tokens are scored at temperature 1. A text's first token and those beyond the model's context are left out.
        """
        texts = [executor_text(problem, reasoning) for problem, reasoning in items]
        encoded = self._tokenizer([text for text, _ in texts], return_offsets_mapping=True, verbose=False)
        rows: list[list[int]] = [ids[: self._context] for ids in encoded["input_ids"]]
        logprobs: list[list[float]] = [[] for _ in rows]
        for positions in budget_batches([len(row) for row in rows], self._max_batch_tokens):
            values = self._logprobs([rows[position] for position in positions])
            for position, row in zip(positions, values, strict=True):
                logprobs[position] = row
        result: list[list[tuple[int, float]]] = []
        for (_, (start, end)), offsets, row in zip(texts, encoded["offset_mapping"], logprobs, strict=True):
            spans = zip(offsets[1:], row, strict=False)  # the row is shorter where the context cut it
            # A token may begin with the space before the trace; it counts as the trace's first.
            result.append([(max(a - start, 0), value) for (a, b), value in spans if b > max(a, start) and a < end])
        return result

    @torch.no_grad()
    def _logprobs(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        """The log-prob of each token but the first, for each row of token ids."""
        ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
        for row, tokens in zip(ids, rows, strict=True):
            row[: len(tokens)] = torch.tensor(tokens)
        ids = ids.to(self._device)
        logits = self._model(input_ids=ids, use_cache=False).logits[:, :-1].float()
        values = -functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        return [value[: len(tokens) - 1] for value, tokens in zip(values.tolist(), rows, strict=True)]
