"""What one token adds to the loss: the policy loss under its correction, the KL penalty, the entropy bonus.

Importing this module loads no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tracelift_ray.config.schema import AlgorithmConfig
from tracelift_ray.rl.corrections import CORRECTIONS, Weights
from tracelift_ray.rl.losses import LOSSES, LossInputs, TokenLoss, kl_penalty

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Objective:
    """Per-token tensors [N].

    Attributes:
        loss: what is summed with the weights of ``normalisations``; carries the gradient.
        policy, correction: what it is made of.
        kl: the penalty before its coefficient; None without a reference.
    """

    loss: Tensor
    policy: TokenLoss
    correction: Weights
    kl: Tensor | None


def needs_old(config: AlgorithmConfig) -> bool:
    """Whether the learner's log-probs before the update take a forward pass of their own: they are the current ones in
    the first step on a batch, and nobody asks for them where the engine's take their place."""
    return config.updates_per_batch > 1 and not CORRECTIONS[config.correction].bypass


def objective(tokens: LossInputs, reference: Tensor | None, entropy: Tensor, config: AlgorithmConfig) -> Objective:
    """The loss of every token.

    Args:
        tokens: ``old`` the learner's own log-probs, also where the engine's take their place in the loss.
        reference: log-probs of the KL reference [N], or None.
        entropy: of the policy at each token [N]; with gradient where ``entropy_coef`` is above 0.
    """
    correction = CORRECTIONS[config.correction]
    weights = correction.weights(tokens, config)
    inputs = replace(tokens, old=tokens.behaviour) if correction.bypass else tokens
    policy = LOSSES[config.loss].terms(inputs, config)
    loss, kl = weights.weight * policy.loss, None
    if reference is not None:
        kl = kl_penalty(tokens.current, reference, config.kl_kind)
        loss = loss + config.kl_coef * kl
    if config.entropy_coef > 0:
        loss = loss - config.entropy_coef * entropy
    return Objective(loss, policy, weights, kl)
