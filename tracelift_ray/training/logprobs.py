"""Log-probabilities and entropies of tokens, from logits, without holding all of them in float32 at once."""

from __future__ import annotations

import torch
from torch.utils.checkpoint import checkpoint

#: Tokens whose logits are held in float32 at a time: with a vocabulary of 150,000 a whole micro-batch would not fit.
_CHUNK = 1024


def token_logprobs(logits: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """Log-probabilities [N] of ``targets`` [N] under ``logits`` [N, V] divided by ``temperature`` (> 0), in float32.

    Long inputs are worked through in chunks, which the backward pass computes again.
    """
    if len(targets) <= _CHUNK:
        return _logprobs(logits, targets, temperature)
    pieces = zip(logits.split(_CHUNK), targets.split(_CHUNK), strict=True)
    return torch.cat([checkpoint(_logprobs, *piece, temperature, use_reentrant=False) for piece in pieces])


def _logprobs(logits: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    scaled = logits.float() / temperature
    return scaled.gather(-1, targets.unsqueeze(-1)).squeeze(-1) - torch.logsumexp(scaled, dim=-1)


@torch.no_grad()
def token_entropy(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Entropy in nats [N] of the distributions of ``logits`` [N, V] at ``temperature``; carries no gradient."""
    entropies = []
    for piece in logits.split(_CHUNK):
        logprobs = torch.log_softmax(piece.float() / temperature, dim=-1)
        entropies.append(-(logprobs.exp() * logprobs).sum(-1))
    return torch.cat(entropies)
