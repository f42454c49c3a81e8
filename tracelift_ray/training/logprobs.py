"""Log-probabilities and entropies of tokens, with the logits of a bounded number of them in memory at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

#: Tokens whose logits exist at a time: with a vocabulary of 150,000 those of a whole micro-batch would not fit.
CHUNK = 1024


def as_they_are(logits: Tensor) -> Tensor:
    """The ``to_logits`` of rows that are logits already."""
    return logits


def token_scores(
    rows: Tensor, targets: Tensor, temperature: float, to_logits: Callable[[Tensor], Tensor] = as_they_are
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies of tokens under their logits divided by ``temperature`` (> 0).

    Args:
        rows: [N, H], from which ``to_logits`` makes logits [N, V] row by row.
        targets: token ids [N].
    Returns:
        log-probabilities of ``targets`` [N], and entropies in nats [N], which carry no gradient; both float32. More
        than ``CHUNK`` rows are worked through in chunks, which the backward pass computes again.
    """
    if len(targets) <= CHUNK:
        return _scores(rows, targets, temperature, to_logits)
    pieces = zip(rows.split(CHUNK), targets.split(CHUNK), strict=True)
    scores = [checkpoint(_scores, *piece, temperature, to_logits, use_reentrant=False) for piece in pieces]
    return torch.cat([logprobs for logprobs, _ in scores]), torch.cat([entropies for _, entropies in scores])


def _scores(
    rows: Tensor, targets: Tensor, temperature: float, to_logits: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    scaled = to_logits(rows).float() / temperature
    logprobs = scaled.gather(-1, targets.unsqueeze(-1)).squeeze(-1) - torch.logsumexp(scaled, dim=-1)
    # The entropies come last: computing a chunk again for its gradient ends before them.
    with torch.no_grad():
        every = torch.log_softmax(scaled, dim=-1)
        return logprobs, -(every.exp() * every).sum(-1)
