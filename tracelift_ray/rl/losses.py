"""The policy loss, token by token: pure tensor functions without a model, a mask or a reduction over a batch.

A loss is one function in ``LOSSES``, named by ``algorithm.loss``. Three log-probabilities meet here, all under the
distribution that was sampled from: ``behaviour`` (b, as the engine emitted it), ``old`` (o, the learner's own before
the update) and ``current`` (c, with gradient). The ratio exp(c - o) is what an update may move and what a loss bounds;
what lies between engine and learner is corrected apart from it (``corrections``), and ``objective`` puts the terms
together.

Promise: a loss looks at one trace at a time, and a trace is never divided; what is summed is weighted by numbers of the
whole batch (``normalisations``). So the gradient is the same however a batch is cut into ranks and micro-batches.

Importing this module loads no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracelift_ray.config.schema import AlgorithmConfig

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LossInputs:
    """The completion tokens of whole traces, N in all, trace by trace; the same in padded and in packed rows.

    Attributes:
        current: log-probs [N], with gradient.
        old: the learner's log-probs before the update [N]; the detached ``current`` for a single step per batch.
        behaviour: the engine's log-probs [N].
        advantages: the trace's advantage at each token [N].
        segments: the number of the trace that a token belongs to, counted from 0 [N].
        lengths: tokens of each trace [S].
    """

    current: Tensor
    old: Tensor
    behaviour: Tensor
    advantages: Tensor
    segments: Tensor
    lengths: Tensor

    def trace_sum(self, values: Tensor) -> Tensor:
        """The sum of ``values`` [N] over each trace, at every token of it [N]."""
        return self._sums(values)[self.segments]

    def trace_mean(self, values: Tensor) -> Tensor:
        """The mean of ``values`` [N] over each trace, at every token of it [N]."""
        return (self._sums(values) / self.lengths)[self.segments]

    def _sums(self, values: Tensor) -> Tensor:
        return values.new_zeros(len(self.lengths)).index_add(0, self.segments, values)


@dataclass(frozen=True)
class TokenLoss:
    """Per-token tensors [N]. ``loss`` carries the gradient, the others do not.

    Attributes:
        loss: before the correction's weight and the normalisation.
        ratio: how far the policy has moved in this update: exp(current - old) of the token, or of its trace.
        clipped: 1 where a bound on the ratio changed the gradient, else 0.
    """

    loss: Tensor
    ratio: Tensor
    clipped: Tensor


PolicyLoss = Callable[[LossInputs, AlgorithmConfig], TokenLoss]


@dataclass(frozen=True)
class Loss:
    """An entry of ``LOSSES``; ``ratio``: whether the loss holds the ratio, so that ``old`` matters to it."""

    terms: PolicyLoss
    ratio: bool


LOSSES: dict[str, Loss] = {}


def policy_loss(name: str, *, ratio: bool = True) -> Callable[[PolicyLoss], PolicyLoss]:
    """Register a function under a name for ``algorithm.loss``."""

    def register(function: PolicyLoss) -> PolicyLoss:
        LOSSES[name] = Loss(function, ratio)
        return function

    return register


@policy_loss("ppo_clip")
def ppo_clip(tokens: LossInputs, config: AlgorithmConfig) -> TokenLoss:
    """PPO's clipped surrogate (arXiv 1707.06347) on every token: -min(r * A, clip(r) * A), r = exp(c - o).

    The bounds 1 - clip_low and 1 + clip_high are apart (DAPO, arXiv 2503.14476). With ``clip_dual`` the term of a
    negative advantage is at most clip_dual * -A (dual clip, arXiv 1912.09729).
    """
    ratio = (tokens.current - tokens.old.detach()).exp()
    return _clipped(ratio, tokens.advantages, config)


@policy_loss("gspo")
def gspo(tokens: LossInputs, config: AlgorithmConfig) -> TokenLoss:
    """GSPO (arXiv 2507.18071): the clipped surrogate with one ratio for the whole trace, exp(mean over it of c - o).

    With ``normalisation: sequence`` the loss is the paper's: a mean over traces, each of them once.
    """
    ratio = tokens.trace_mean(tokens.current - tokens.old.detach()).exp()
    return _clipped(ratio, tokens.advantages, config)


@policy_loss("gmpo")
def gmpo(tokens: LossInputs, config: AlgorithmConfig) -> TokenLoss:
    """GMPO (arXiv 2507.20673): -A times the geometric mean over the trace of the tokens' clipped ratios.

    In log space: c - o is bounded by log(1 - clip_low) and log(1 + clip_high) on the side that the advantage pushes it
    to, as ppo_clip bounds the ratio, and then averaged over the trace. With ``normalisation: sequence`` the loss is
    the paper's: a mean over traces.
    """
    low = math.log(1.0 - config.clip_low) if config.clip_low < 1 else -math.inf
    moved = tokens.current - tokens.old.detach()
    sign = tokens.advantages.sign()
    bounded = sign * (sign * moved).minimum(sign * moved.clamp(low, math.log1p(config.clip_high)))
    ratio = tokens.trace_mean(bounded).exp()
    clipped = (bounded != moved).float().detach() * sign.abs()
    return TokenLoss(-tokens.advantages * ratio, ratio.detach(), clipped)


@policy_loss("cispo")
def cispo(tokens: LossInputs, config: AlgorithmConfig) -> TokenLoss:
    """CISPO (MiniMax-M1, arXiv 2506.13585): -clip(r) * A * c, where the clipped ratio carries no gradient.

    So no token loses its gradient; a ``clip_low`` of 1 leaves the ratio without a lower bound, as in the paper.
    """
    ratio = (tokens.current - tokens.old).exp().detach()
    bounded = ratio.clamp(1.0 - config.clip_low, 1.0 + config.clip_high)
    return TokenLoss(-bounded * tokens.advantages * tokens.current, ratio, (bounded != ratio).float())


@policy_loss("reinforce", ratio=False)
def reinforce(tokens: LossInputs, config: AlgorithmConfig) -> TokenLoss:
    """REINFORCE (Williams 1992): -A * c, with neither ratio nor bound."""
    ratio = (tokens.current - tokens.old).exp().detach()
    return TokenLoss(-tokens.advantages * tokens.current, ratio, ratio.new_zeros(ratio.shape))


def kl_penalty(current: Tensor, reference: Tensor, kind: str) -> Tensor:
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
    return (-gap).exp() + gap - 1.0


def _clipped(ratio: Tensor, advantages: Tensor, config: AlgorithmConfig) -> TokenLoss:
    """-min(ratio * A, clip(ratio, 1 - clip_low, 1 + clip_high) * A); the dual clip bounds it from above."""
    free = ratio * advantages
    bounded = ratio.clamp(1.0 - config.clip_low, 1.0 + config.clip_high) * advantages
    kept = free.minimum(bounded)
    clipped = bounded < free
    if config.clip_dual > 0:
        lowest = config.clip_dual * advantages
        clipped = clipped | ((advantages < 0) & (kept < lowest))
        kept = kept.maximum(lowest).where(advantages < 0, kept)
    return TokenLoss(-kept, ratio.detach(), clipped.float().detach())
