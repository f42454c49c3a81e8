"""The advantages of every registered estimator, written from the papers in float64 NumPy."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np

from tests.unit.rl.batches import Rewards
from tracelift_ray.config.schema import AlgorithmConfig

Batch = list[Rewards]
Formula = Callable[[Batch, AlgorithmConfig], list[np.ndarray]]
PARTS = ("execution", "uplift", "rubric")
WEIGHTS = {"uplift": 2.0, "rubric": 0.5}


def over(values: np.ndarray, config: AlgorithmConfig) -> float:
    """What a centred value is divided by."""
    if config.advantage_std == "none":
        return 1.0
    return float(values.std(ddof=int(config.advantage_std == "sample"))) + config.advantage_eps


def whitened(groups: list[np.ndarray], config: AlgorithmConfig) -> list[np.ndarray]:
    every = np.concatenate(groups)
    return [(group - every.mean()) / over(every, config) for group in groups]


def grpo(groups: Batch, config: AlgorithmConfig) -> list[np.ndarray]:
    return [(r - r.mean()) / over(r, config) for r in (g.array() for g in groups)]


def rloo(groups: Batch, config: AlgorithmConfig) -> list[np.ndarray]:
    return [np.array([r[i] - np.delete(r, i).mean() for i in range(len(r))]) for r in (g.array() for g in groups)]


def reward(groups: Batch, config: AlgorithmConfig) -> list[np.ndarray]:
    return [g.array() for g in groups]


def reinforce_pp(groups: Batch, config: AlgorithmConfig) -> list[np.ndarray]:
    return whitened([g.array() for g in groups], config)


def reinforce_pp_baseline(groups: Batch, config: AlgorithmConfig) -> list[np.ndarray]:
    return whitened([g.array() - g.array().mean() for g in groups], config)


def opo(groups: Batch, config: AlgorithmConfig) -> list[np.ndarray]:
    return [g.array() - np.average(g.array(), weights=g.array("lengths")) for g in groups]


def gdpo(groups: Batch, config: AlgorithmConfig) -> list[np.ndarray]:
    weights = {name: WEIGHTS.get(name, 1.0) for name in PARTS}
    parts = [[weights[n] * (g.array(n) - g.array(n).mean()) / over(g.array(n), config) for n in PARTS] for g in groups]
    return whitened([np.sum(each, axis=0) for each in parts], config)


def best_of(groups: Batch, config: AlgorithmConfig) -> list[np.ndarray]:
    """By listing all sets of k traces."""
    found = []
    for rewards in (g.array() for g in groups):
        sets = list(combinations(range(len(rewards)), config.best_of))
        paid = np.array([rewards[list(each)].max() for each in sets])
        holding = [np.array([i in each for each in sets]) for i in range(len(rewards))]
        std = 1.0 if config.advantage_std == "none" else float(paid.std()) + config.advantage_eps
        found.append(np.array([(paid[held].mean() - paid.mean()) / std for held in holding]))
    return found


FORMULAS: dict[str, Formula] = {
    "grpo": grpo,
    "rloo": rloo,
    "reward": reward,
    "reinforce_pp": reinforce_pp,
    "reinforce_pp_baseline": reinforce_pp_baseline,
    "opo": opo,
    "gdpo": gdpo,
    "best_of": best_of,
}
