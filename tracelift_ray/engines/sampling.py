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
    logits: torch.Tensor, temperature: torch.Tensor, top_p: torch.Tensor, draws: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw one token per row by inverting the cumulative distribution.

    Args:
        logits: (rows, vocabulary), float32.
        temperature: (rows,); 0 takes the likeliest token.
        top_p: (rows,), in (0, 1].
        draws: (rows,), float64 in [0, 1).

    Returns:
        Token ids (rows,) and their natural log-probabilities (rows,) under the distribution that was drawn from: after
        temperature and top-p. For temperature 0, under the model's own distribution.
    """
    greedy = temperature == 0
    scaled = logits / torch.where(greedy, torch.ones_like(temperature), temperature).unsqueeze(1)
    logprobs = torch.log_softmax(scaled, dim=-1)
    if bool((top_p < 1).any()):
        logprobs = torch.log_softmax(_nucleus(logprobs, top_p), dim=-1)
    cumulative = logprobs.double().exp_().cumsum_(dim=-1)
    targets = draws.unsqueeze(1) * cumulative[:, -1:]
    tokens = torch.searchsorted(cumulative, targets, right=True).squeeze(1).clamp_(max=logits.shape[1] - 1)
    if bool(greedy.any()):
        tokens = torch.where(greedy, logits.argmax(dim=-1), tokens)
    return tokens, logprobs.gather(1, tokens.unsqueeze(1)).squeeze(1)


def _nucleus(logprobs: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """Log-probs with all but the smallest set of likeliest tokens whose mass reaches ``top_p`` at minus infinity."""
    ordered, order = logprobs.sort(dim=-1, descending=True)
    before = ordered.exp().cumsum(dim=-1) - ordered.exp()
    dropped = torch.zeros_like(logprobs, dtype=torch.bool).scatter_(1, order, before >= top_p.unsqueeze(1))
    return logprobs.masked_fill(dropped, float("-inf"))
