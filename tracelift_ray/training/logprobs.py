"""Log-probabilities and entropies of tokens, with the logits of a bounded number of them in memory at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tracelift_ray.config.models import PlannerSamplingConfig
from tracelift_ray.engines.sampling import dropped

#: Tokens whose logits exist at a time: with a vocabulary of 150,000 those of a whole micro-batch would not fit.
CHUNK = 1024


def as_they_are(logits: Tensor) -> Tensor:
    """The ``to_logits`` of rows that are logits already."""
    return logits


@dataclass(frozen=True)
class Distribution:
    """What tokens are sampled from: their logits divided by ``temperature`` (> 0), cut by ``top_k`` (0: not) and then
    by ``top_p`` (1: not), and renormalised over what is kept.

    The kept set is found again from the logits at hand, by the engine's own rule, and a token that was sampled is
    always in it. So where learner and engine agree on the logits, they agree on the log-probs. They can differ, beyond
    rounding, where a likely token lies on the edge of the set: it is kept under one and not under the other, and the
    log-probs of all others move by its mass. That happens to stale traces, to later steps on one batch, and under an
    engine of low precision; the logged mismatch shows it, and the correction bounds what it does.
    """

    temperature: float
    top_p: float = 1.0
    top_k: int = 0

    @classmethod
    def of(cls, sampling: PlannerSamplingConfig) -> Distribution:
        """What the planner samples from."""
        return cls(sampling.temperature, sampling.top_p, sampling.top_k)

    def logits(self, scaled: Tensor, targets: Tensor) -> Tensor:
        """Logits [N, V], divided by the temperature, with those that the cut leaves out at minus infinity."""
        if self.top_p == 1 and self.top_k == 0:
            return scaled
        with torch.no_grad():
            every = torch.log_softmax(scaled, dim=-1)
            rows = every.new_ones(len(targets))
            left_out = dropped(every, rows * self.top_p, (rows * self.top_k).long())
            left_out.scatter_(1, targets.unsqueeze(-1), False)
        return scaled.masked_fill(left_out, float("-inf"))


def token_scores(
    rows: Tensor,
    targets: Tensor,
    distribution: Distribution,
    to_logits: Callable[[Tensor], Tensor] = as_they_are,
    *,
    entropy_gradient: bool = False,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of tokens under ``distribution``, and the entropies at their positions.

    Args:
        rows: [N, H], from which ``to_logits`` makes logits [N, V] row by row.
        targets: token ids [N].
        entropy_gradient: whether the entropies carry gradient, too.
    Returns:
        log-probabilities of ``targets`` [N], and entropies in nats [N] at the temperature over the whole vocabulary,
        before any cut; both float32. More than ``CHUNK`` rows are worked through in chunks, which the backward pass
        computes again.
    """
    if len(targets) <= CHUNK:
        return _scores(rows, targets, distribution, to_logits, entropy_gradient)
    pieces = zip(rows.split(CHUNK), targets.split(CHUNK), strict=True)
    scores = [
        checkpoint(_scores, *piece, distribution, to_logits, entropy_gradient, use_reentrant=False) for piece in pieces
    ]
    return torch.cat([logprobs for logprobs, _ in scores]), torch.cat([entropies for _, entropies in scores])


def _scores(
    rows: Tensor,
    targets: Tensor,
    distribution: Distribution,
    to_logits: Callable[[Tensor], Tensor],
    entropy_gradient: bool,
) -> tuple[Tensor, Tensor]:
    scaled = to_logits(rows).float() / distribution.temperature
    kept = distribution.logits(scaled, targets)
    logprobs = kept.gather(-1, targets.unsqueeze(-1)).squeeze(-1) - torch.logsumexp(kept, dim=-1)
    # The entropies come last: without a gradient of theirs, computing a chunk again ends before them.
    with torch.set_grad_enabled(entropy_gradient and torch.is_grad_enabled()):
        every = torch.log_softmax(scaled, dim=-1)
        return logprobs, -(every.exp() * every).sum(-1)
