"""Sampling of next tokens, each row with its own settings and seed.

A row's draw depends on its logits, its seed and its step only, never on the rows beside it or their order; what may
differ in other company is the rounding of the logits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray


def uniforms(seeds: NDArray[np.uint64], steps: NDArray[np.uint64]) -> NDArray[np.float64]:
    """A uniform number in [0, 1) for each (seed, step), by the splitmix64 mixing function (Steele et al., 2014).

    Args:
        seeds: shape (rows,); steps: shape (rows,), the index of the token to draw.
    """
    with np.errstate(over="ignore"):
        state = _mix(seeds) + (steps + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        return (_mix(state) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def sample(
    logits: torch.Tensor,
    temperature: torch.Tensor,
    top_p: torch.Tensor,
    top_k: torch.Tensor,
    draws: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw one token per row by inverting the cumulative distribution.

    Args:
        logits: (rows, vocabulary), float32.
        temperature: (rows,); 0 takes the likeliest token.
        top_p: (rows,), in (0, 1].
        top_k: (rows,), whole numbers; 0 for all tokens.
        draws: (rows,), float64 in [0, 1).

    Returns:
        Token ids (rows,) and their natural log-probabilities (rows,) under the distribution that was drawn from: after
        temperature, top-k and top-p. For temperature 0, under the model's own distribution.
    """
    greedy = temperature == 0
    scaled = logits / torch.where(greedy, torch.ones_like(temperature), temperature).unsqueeze(1)
    logprobs = torch.log_softmax(scaled, dim=-1)
    if bool((top_p < 1).any() | (top_k > 0).any()):
        left_out = dropped(logprobs, top_p, top_k)
        logprobs = torch.log_softmax(logprobs.masked_fill(left_out, float("-inf")), dim=-1)
    cumulative = logprobs.double().exp_().cumsum_(dim=-1)
    targets = draws.unsqueeze(1) * cumulative[:, -1:]
    tokens = torch.searchsorted(cumulative, targets, right=True).squeeze(1).clamp_(max=logits.shape[1] - 1)
    if bool(greedy.any()):
        tokens = torch.where(greedy, logits.argmax(dim=-1), tokens)
    return tokens, logprobs.gather(1, tokens.unsqueeze(1)).squeeze(1)


def dropped(logprobs: torch.Tensor, top_p: torch.Tensor, top_k: torch.Tensor) -> torch.Tensor:
    """Which tokens a cut leaves out, as vLLM does: all but the ``top_k`` likeliest (ties of the last one stay), then of
    these all but the smallest set of likeliest ones whose share of their mass reaches ``top_p``.

    Args:
        logprobs: (rows, vocabulary), natural logarithms after temperature.
        top_p: (rows,), in (0, 1]; top_k: (rows,), 0 for all.

    Returns:
        (rows, vocabulary), true where a token is left out; the likeliest one never is.
    """
    size = logprobs.shape[-1]
    ordered, order = logprobs.sort(dim=-1, descending=True)
    last = torch.where(top_k > 0, top_k.clamp(max=size), size).unsqueeze(1) - 1
    behind = ordered < ordered.gather(1, last)
    mass = ordered.exp().masked_fill(behind, 0.0)
    share = torch.where((top_k > 0).unsqueeze(1), mass / mass.sum(dim=-1, keepdim=True), mass)
    before = share.cumsum(dim=-1) - share
    beyond = (before >= top_p.unsqueeze(1)) & (top_p < 1).unsqueeze(1)
    return torch.zeros_like(behind).scatter_(1, order, behind | beyond)
