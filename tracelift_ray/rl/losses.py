"""The policy loss, token by token: pure tensor functions without a model, a mask or a reduction over a batch.

A loss is one function in ``LOSSES``, named by ``algorithm.loss``; how tokens are averaged is one in
``NORMALISATIONS``, named by ``algorithm.normalisation``. Three log-probabilities meet here, all after the sampling
temperature: ``behaviour`` (b, as the engine emitted it), ``old`` (o, the learner's own before the update) and
``current`` (c, with gradient). The ratio exp(c - o) is what an update may move; the weight min(exp(o - b), C)
corrects once, without gradient, for what lies between engine and learner: numerical mismatch and staleness.

Promise: a reduction is always a sum of per-token terms times weights from ``sample_weight``, which depend only on the
whole batch. So the gradient is the same however the batch is cut into ranks and micro-batches; a loss may look at all
tokens of a trace, since a trace is never divided.

Importing this module loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracelift_ray.config.schema import AlgorithmConfig
from tracelift_ray.types import TrainBatch

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

    def trace_mean(self, values: Tensor) -> Tensor:
        """The mean of ``values`` [N] over each trace, at every token of it [N]."""
        sums = values.new_zeros(len(self.lengths)).index_add(0, self.segments, values)
        return (sums / self.lengths)[self.segments]


@dataclass(frozen=True)
class TokenLoss:
    """Per-token tensors [N]. ``loss`` carries the gradient, the others do not.

    Attributes:
        loss: what is summed with the weights of ``sample_weight``.
        ratio: how far the policy has moved in this update: exp(current - old) of the token, or of its trace.
        clipped: 1 where clipping took the gradient away, else 0.
        weight: the truncated importance weight that ``loss`` holds.
    """

    loss: Tensor
    ratio: Tensor
    clipped: Tensor
    weight: Tensor


PolicyLoss = Callable[[LossInputs, AlgorithmConfig], TokenLoss]
#: What each token of a trace of so many tokens is multiplied by.
Normalisation = Callable[[int, TrainBatch, AlgorithmConfig], float]

LOSSES: dict[str, PolicyLoss] = {}
NORMALISATIONS: dict[str, Normalisation] = {}


def policy_loss(name: str) -> Callable[[PolicyLoss], PolicyLoss]:
    """Register a function under a name for ``algorithm.loss``."""

    def register(function: PolicyLoss) -> PolicyLoss:
        LOSSES[name] = function
        return function

    return register


def normalisation(name: str) -> Callable[[Normalisation], Normalisation]:
    """Register a function under a name for ``algorithm.normalisation``."""

    def register(function: Normalisation) -> Normalisation:
        NORMALISATIONS[name] = function
        return function

    return register


@policy_loss("ppo_clip")
def ppo_clip(tokens: LossInputs, config: AlgorithmConfig) -> TokenLoss:
    """PPO's clipped surrogate (arXiv 1707.06347) on every token: -w * min(r * A, clip(r) * A), r = exp(c - o)."""
    ratio = (tokens.current - tokens.old.detach()).exp()
    weight = mismatch_weight(tokens.old, tokens.behaviour, config.mismatch_cap)
    return _clipped(ratio, weight, tokens.advantages, config)


@policy_loss("gspo")
def gspo(tokens: LossInputs, config: AlgorithmConfig) -> TokenLoss:
    """GSPO (arXiv 2507.18071): the clipped surrogate with one ratio for the whole trace, exp(mean over it of c - o).

    The importance weight is the trace's too. With ``normalisation: sequence`` the loss is the paper's: a mean over
    traces, each of them once.
    """
    ratio = tokens.trace_mean(tokens.current - tokens.old.detach()).exp()
    gap = tokens.trace_mean(tokens.old - tokens.behaviour)
    weight = mismatch_weight(gap, gap.new_zeros(gap.shape), config.mismatch_cap)
    return _clipped(ratio, weight, tokens.advantages, config)


@normalisation("token")
def token_mean(tokens: int, batch: TrainBatch, config: AlgorithmConfig) -> float:
    """The mean over all tokens of the batch (DAPO, arXiv 2503.14476)."""
    return 1.0 / batch.num_tokens


@normalisation("sequence")
def trace_mean(tokens: int, batch: TrainBatch, config: AlgorithmConfig) -> float:
    """The mean over traces of the mean over their tokens (GRPO, arXiv 2402.03300)."""
    return 1.0 / (batch.num_traces * tokens)


@normalisation("constant")
def constant_length(tokens: int, batch: TrainBatch, config: AlgorithmConfig) -> float:
    """Every trace divided by ``constant_length``, so without length bias (Dr.GRPO, arXiv 2503.20783)."""
    return 1.0 / (batch.num_traces * config.constant_length)


def sample_weight(completion_tokens: int, batch: TrainBatch, config: AlgorithmConfig) -> float:
    """What each token of one sample is multiplied by, so that the plain sum over all tokens is the batch's loss.

    ``num_tokens`` and ``num_traces`` of ``batch`` count the whole batch, samples without gradient included.
    """
    return NORMALISATIONS[config.normalisation](completion_tokens, batch, config)


def mismatch_weight(old: Tensor, behaviour: Tensor, cap: float) -> Tensor:
    """Truncated importance weight min(exp(old - behaviour), cap), detached; all ones where ``cap`` is 0."""
    if cap == 0:
        return old.new_ones(old.shape)
    return (old - behaviour).exp().clamp(max=cap).detach()


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


def _clipped(ratio: Tensor, weight: Tensor, advantages: Tensor, config: AlgorithmConfig) -> TokenLoss:
    """-weight * min(ratio * A, clip(ratio, 1 - clip_low, 1 + clip_high) * A)."""
    free = ratio * advantages
    bounded = ratio.clamp(1.0 - config.clip_low, 1.0 + config.clip_high) * advantages
    clipped = (bounded < free).float().detach()
    return TokenLoss(-weight * free.minimum(bounded), ratio.detach(), clipped, weight)
