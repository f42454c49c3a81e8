"""The loss of a batch under every registered loss, correction and normalisation, written from the papers in NumPy.

A function gives the loss of one trace at each of its tokens; ``current`` is what a gradient would move, and
``trace["current"]`` where a paper stops the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracelift_ray.config.schema import AlgorithmConfig
from tracelift_ray.types import TrainBatch

Array = np.ndarray
#: Log-probs ``current``, ``old`` and ``behaviour`` [tokens], ``advantage``, and ``group``, the tokens of its group.
Trace = dict[str, Any]


def surrogate(ratio: Array, advantage: float, config: AlgorithmConfig) -> Array:
    found = np.minimum(ratio * advantage, np.clip(ratio, 1 - config.clip_low, 1 + config.clip_high) * advantage)
    return np.maximum(found, config.clip_dual * advantage) if config.clip_dual and advantage < 0 else found


def ppo_clip(trace: Trace, current: Array, old: Array, config: AlgorithmConfig) -> Array:
    return -surrogate(np.exp(current - old), trace["advantage"], config)


def gspo(trace: Trace, current: Array, old: Array, config: AlgorithmConfig) -> Array:
    # A trace's likelihood to the power of one over its length, as the paper writes it.
    ratio = (np.exp(current.sum()) / np.exp(old.sum())) ** (1 / len(old))
    return -surrogate(np.full(len(old), ratio), trace["advantage"], config)


def gmpo(trace: Trace, current: Array, old: Array, config: AlgorithmConfig) -> Array:
    # The paper: the product of |min(r A, clip(r) A)|, to the power of one over the length, with the sign of A.
    advantage = trace["advantage"]
    ratio = np.exp(current - old)
    bounded = np.clip(ratio, 1 - config.clip_low, 1 + config.clip_high)
    terms = np.abs(np.minimum(ratio * advantage, bounded * advantage))
    return np.full(len(old), -np.sign(advantage) * np.prod(terms) ** (1 / len(old)))


def cispo(trace: Trace, current: Array, old: Array, config: AlgorithmConfig) -> Array:
    weight = np.clip(np.exp(trace["current"] - old), 1 - config.clip_low, 1 + config.clip_high)
    return -weight * trace["advantage"] * current


def reinforce(trace: Trace, current: Array, old: Array, config: AlgorithmConfig) -> Array:
    return -trace["advantage"] * current


EXPECTED_LOSSES: dict[str, Callable[[Trace, Array, Array, AlgorithmConfig], Array]] = {
    "ppo_clip": ppo_clip,
    "gspo": gspo,
    "gmpo": gmpo,
    "cispo": cispo,
    "reinforce": reinforce,
}


def k3(gap: Array) -> Array:
    return np.exp(gap) - 1 - gap


def in_band(value: Array, config: AlgorithmConfig) -> Array:
    return (config.correction_low <= value) & (value <= config.correction_high)


EXPECTED_WEIGHTS: dict[str, Callable[[Array, AlgorithmConfig], Any]] = {
    "none": lambda gap, config: 1.0,
    "bypass": lambda gap, config: 1.0,
    "token_truncated": lambda gap, config: np.minimum(np.exp(gap), config.mismatch_cap),
    "sequence_truncated": lambda gap, config: min(np.prod(np.exp(gap)), config.mismatch_cap),
    "geometric_truncated": lambda gap, config: min(np.prod(np.exp(gap)) ** (1 / len(gap)), config.mismatch_cap),
    "token_masked": lambda gap, config: np.exp(gap) * in_band(np.exp(gap), config),
    "geometric_rejected": lambda gap, config: float(in_band(np.prod(np.exp(gap)) ** (1 / len(gap)), config)),
    "k3_masked": lambda gap, config: (k3(gap) <= config.k3_bound).astype(float),
    "k3_rejected": lambda gap, config: float(k3(gap).mean() <= config.k3_bound),
}

EXPECTED_NORMALISATIONS: dict[str, Callable[[Trace, TrainBatch, AlgorithmConfig], float]] = {
    "token": lambda trace, batch, config: 1 / batch.num_tokens,
    "sequence": lambda trace, batch, config: 1 / batch.num_traces / len(trace["old"]),
    "constant": lambda trace, batch, config: 1 / batch.num_traces / config.constant_length,
    "prompt": lambda trace, batch, config: 1 / batch.num_groups / trace["group"],
}


def expected_loss(some: list[Trace], moved: list[Array], batch: TrainBatch, config: AlgorithmConfig) -> float:
    """The loss with the current log-probs at ``moved``, but for what carries no gradient."""
    total = 0.0
    for trace, current in zip(some, moved, strict=True):
        weight = EXPECTED_WEIGHTS[config.correction](trace["old"] - trace["behaviour"], config)
        old = trace["behaviour"] if config.correction == "bypass" else trace["old"]
        terms = weight * EXPECTED_LOSSES[config.loss](trace, current, old, config)
        total += EXPECTED_NORMALISATIONS[config.normalisation](trace, batch, config) * float(np.sum(terms))
    return total
