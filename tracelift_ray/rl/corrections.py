"""Weights that correct, once and without gradient, what lies between engine and learner: mismatch and staleness.

A correction is one function in ``CORRECTIONS``, named by ``algorithm.correction``. It sees the log-probs that the
engine emitted (``behaviour``, b) and the learner's own before the update (``old``, o). Their gap o - b is 0 where both
compute the same and the trace is not stale. The weights multiply the policy loss of each token; the KL penalty and the
entropy bonus stay as they are. The normalisation does not change: a token that is masked, or a trace that is rejected,
still counts in it.

Importing this module loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracelift_ray.config.schema import AlgorithmConfig
from tracelift_ray.rl.losses import LossInputs

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Weights:
    """Per-token tensors [N], without gradient.

    Attributes:
        weight: what the policy loss is multiplied by.
        truncated: 1 where the cap took hold, else 0.
        masked: 1 where the token is left out, else 0.
    """

    weight: Tensor
    truncated: Tensor
    masked: Tensor


@dataclass(frozen=True)
class Correction:
    """An entry of ``CORRECTIONS``.

    Attributes:
        weights: the function.
        bypass: whether the engine's log-probs take the place of the learner's old ones, so that the ratio of the loss
            is exp(c - b) and no forward pass for ``old`` is made.
        band: whether it reads ``correction_low`` and ``correction_high``.
    """

    weights: Callable[[LossInputs, AlgorithmConfig], Weights]
    bypass: bool
    band: bool


CORRECTIONS: dict[str, Correction] = {}
_Function = Callable[[LossInputs, AlgorithmConfig], Weights]


def correction(name: str, *, bypass: bool = False, band: bool = False) -> Callable[[_Function], _Function]:
    """Register a function under a name for ``algorithm.correction``."""

    def register(function: _Function) -> _Function:
        CORRECTIONS[name] = Correction(function, bypass, band)
        return function

    return register


@correction("none")
def uncorrected(tokens: LossInputs, config: AlgorithmConfig) -> Weights:
    """1."""
    ones = tokens.old.detach().new_ones(tokens.old.shape)
    return Weights(ones, ones.new_zeros(ones.shape), ones.new_zeros(ones.shape))


@correction("bypass", bypass=True)
def bypassed(tokens: LossInputs, config: AlgorithmConfig) -> Weights:
    """1, because the ratio of the loss is taken to the engine's log-probs and its bounds limit both at once."""
    return uncorrected(tokens, config)


@correction("token_truncated")
def token_truncated(tokens: LossInputs, config: AlgorithmConfig) -> Weights:
    """min(exp(o - b), C) of each token, C = ``mismatch_cap`` (truncated importance sampling, Yao et al. 2025, "Your
    Efficient RL Framework Secretly Brings You Off-Policy RL Training")."""
    return _truncated(tokens, _gap(tokens), config)


@correction("sequence_truncated")
def sequence_truncated(tokens: LossInputs, config: AlgorithmConfig) -> Weights:
    """min(exp(sum over the trace of o - b), C): the trace's true ratio, whose spread grows with its length."""
    return _truncated(tokens, tokens.trace_sum(_gap(tokens)), config)


@correction("geometric_truncated")
def geometric_truncated(tokens: LossInputs, config: AlgorithmConfig) -> Weights:
    """min(exp(mean over the trace of o - b), C): one weight for the trace, on the scale of a token's."""
    return _truncated(tokens, tokens.trace_mean(_gap(tokens)), config)


@correction("token_masked", band=True)
def token_masked(tokens: LossInputs, config: AlgorithmConfig) -> Weights:
    """exp(o - b) of a token where it lies from ``correction_low`` to ``correction_high``, else 0 (IcePop, Ling Team
    2025, arXiv 2510.18855)."""
    ratio = _gap(tokens).exp()
    kept = (ratio >= config.correction_low) & (ratio <= config.correction_high)
    return _kept(ratio.where(kept, ratio.new_zeros(())), kept)


@correction("geometric_rejected", band=True)
def geometric_rejected(tokens: LossInputs, config: AlgorithmConfig) -> Weights:
    """1 for the traces whose exp(mean of o - b) lies from ``correction_low`` to ``correction_high``, 0 for the others.

    A mean moves little: a band such as 0.99 to 1.01 tells stale or broken traces from sound ones.
    """
    ratio = tokens.trace_mean(_gap(tokens)).exp()
    kept = (ratio >= config.correction_low) & (ratio <= config.correction_high)
    return _kept(kept.to(ratio.dtype), kept)


@correction("k3_masked")
def k3_masked(tokens: LossInputs, config: AlgorithmConfig) -> Weights:
    """1 for the tokens whose k3 estimate of KL(engine || learner), exp(o - b) - (o - b) - 1, is at most ``k3_bound``;
    0 for the others."""
    kept = _k3(tokens) <= config.k3_bound
    return _kept(kept.to(tokens.old.dtype), kept)


@correction("k3_rejected")
def k3_rejected(tokens: LossInputs, config: AlgorithmConfig) -> Weights:
    """1 for the traces whose mean k3 estimate (``k3_masked``) is at most ``k3_bound``, 0 for the others."""
    kept = tokens.trace_mean(_k3(tokens)) <= config.k3_bound
    return _kept(kept.to(tokens.old.dtype), kept)


def _gap(tokens: LossInputs) -> Tensor:
    return (tokens.old - tokens.behaviour).detach()


def _k3(tokens: LossInputs) -> Tensor:
    gap = _gap(tokens)
    return gap.exp() - gap - 1.0


def _truncated(tokens: LossInputs, gap: Tensor, config: AlgorithmConfig) -> Weights:
    """min(exp(gap), C); all ones where C is 0."""
    cap = config.mismatch_cap
    if cap == 0:
        return uncorrected(tokens, config)
    weight = gap.exp().clamp(max=cap)
    return Weights(weight, (weight >= cap).float(), gap.new_zeros(gap.shape))


def _kept(weight: Tensor, kept: Tensor) -> Weights:
    return Weights(weight, weight.new_zeros(weight.shape), (~kept).float())
