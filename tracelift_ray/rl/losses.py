"""The policy loss, token by token: pure tensor functions without a model, a mask or a reduction over a batch.

Three log-probabilities meet here, all after the sampling temperature: ``behaviour`` (b, as the engine emitted it),
``old`` (o, the learner's own before the update) and ``current`` (c, with gradient). The ratio exp(c - o) is clipped as
in PPO; the weight min(exp(o - b), C) corrects once, without gradient, for what lies between engine and learner:
numerical mismatch and staleness.

Promise: a reduction is always a sum of per-token terms times weights from ``sample_weight``, which depend only on the
whole batch. So the gradient is the same however the batch is cut into ranks and micro-batches.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tracelift_ray.config.schema import AlgorithmConfig
from tracelift_ray.types import TrainBatch


def mismatch_weight(old: torch.Tensor, behaviour: torch.Tensor, cap: float) -> torch.Tensor:
    """Truncated importance weight min(exp(old - behaviour), cap), detached; all ones where ``cap`` is 0."""
    if cap == 0:
        return torch.ones_like(old)
    return torch.exp(old - behaviour).clamp(max=cap).detach()


def kl_penalty(current: torch.Tensor, reference: torch.Tensor, kind: str) -> torch.Tensor:
    """Per-token estimate of KL(current || reference) on sampled tokens; value and gradient fit for a loss.

    With d = current - reference: ``k1`` = d, ``k2`` = d^2 / 2, ``k3`` = exp(-d) + d - 1 (Schulman, "Approximating KL
    divergence"). The plain gradient of k1 is zero in expectation, so k1 carries its score-function gradient
    d * grad(current) instead, at the value d.
    """
    gap = current - reference
    if kind == "k1":
        return gap.detach() * (1.0 + current - current.detach())
    if kind == "k2":
        return 0.5 * gap.square()
    if kind == "k3":
        return torch.exp(-gap) + gap - 1.0
    raise ValueError(f"algorithm.kl_kind is {kind!r}; it must be k1, k2 or k3")


@dataclass(frozen=True)
class TokenLoss:
    """Per-token tensors, all of one shape. ``loss`` carries the gradient, the others do not.

    Attributes:
        loss: -w * clipped surrogate, plus ``kl_coef`` times the KL penalty.
        ratio: exp(current - old).
        clipped: 1 where clipping took the gradient away, else 0.
        weight: the truncated importance weight w.
        kl: the KL penalty to the reference before its coefficient; 0 without a reference.
    """

    loss: torch.Tensor
    ratio: torch.Tensor
    clipped: torch.Tensor
    weight: torch.Tensor
    kl: torch.Tensor


def policy_loss(
    current: torch.Tensor,
    old: torch.Tensor,
    behaviour: torch.Tensor,
    advantages: torch.Tensor,
    reference: torch.Tensor | None,
    config: AlgorithmConfig,
) -> TokenLoss:
    """The loss of every token: -w * min(r * A, clip(r, 1 - clip_low, 1 + clip_high) * A) + kl_coef * KL.

    Args:
        current: log-probs with gradient, any shape.
        old: the learner's log-probs before the update; the detached ``current`` for a single step per batch.
        behaviour: the engine's log-probs.
        advantages: one per token, or broadcastable.
        reference: log-probs of the frozen reference; None for no KL term.
    """
    ratio = torch.exp(current - old.detach())
    free = ratio * advantages
    bounded = ratio.clamp(1.0 - config.clip_low, 1.0 + config.clip_high) * advantages
    weight = mismatch_weight(old, behaviour, config.mismatch_cap)
    loss = -weight * torch.minimum(free, bounded)
    kl = torch.zeros_like(loss)
    if reference is not None:
        kl = kl_penalty(current, reference.detach(), config.kl_kind)
        loss = loss + config.kl_coef * kl
    return TokenLoss(loss, ratio.detach(), (bounded < free).float().detach(), weight, kl.detach())


def sample_weight(completion_tokens: int, batch: TrainBatch, config: AlgorithmConfig) -> float:
    """What each token of one sample is multiplied by, so that the plain sum over all tokens is the batch's loss.

    ``token``: 1 / num_tokens. ``sequence``: 1 / (num_traces * completion_tokens), the mean over traces of token means.
    ``constant``: 1 / (num_traces * constant_length), without length bias (Dr.GRPO, arXiv 2503.20783).
    ``num_tokens`` and ``num_traces`` count the whole batch, samples without gradient included.
    """
    if config.normalisation == "token":
        return 1.0 / batch.num_tokens
    if config.normalisation == "sequence":
        return 1.0 / (batch.num_traces * completion_tokens)
    if config.normalisation == "constant":
        return 1.0 / (batch.num_traces * config.constant_length)
    raise ValueError(f"algorithm.normalisation is {config.normalisation!r}; it must be token, sequence or constant")
