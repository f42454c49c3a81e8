"""Rules across the fields of ``algorithm``, and between them and the rest of a run. Called by ``checks.check_run``."""

from __future__ import annotations

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.schema import AlgorithmConfig, RunConfig
from tracelift_ray.reward.arms import ARMS
from tracelift_ray.rl.advantages import ESTIMATORS
from tracelift_ray.rl.corrections import CORRECTIONS
from tracelift_ray.rl.losses import LOSSES
from tracelift_ray.rl.signal import LENGTH


def check_algorithm(config: RunConfig) -> None:
    """Check every rule of the algorithm. Raises ConfigError for the first that does not hold."""
    _check_group_size(config.algorithm)
    _check_components(config)
    _check_bounds(config.algorithm)
    _check_correction(config.algorithm)


def _check_group_size(algorithm: AlgorithmConfig) -> None:
    least = ESTIMATORS[algorithm.advantage].least(algorithm)
    if algorithm.group_size < least.traces:
        right = f"must be {least.traces} or more; algorithm.advantage={algorithm.advantage} {least.why}"
        raise ConfigError("algorithm.group_size", algorithm.group_size, right)


def _check_components(config: RunConfig) -> None:
    """An estimator that weighs the parts of the reward needs an arm that has some; weights must name them."""
    algorithm, arm = config.algorithm, config.reward.arm
    if not ESTIMATORS[algorithm.advantage].components:
        return
    names = ARMS[arm].components()
    if not names:
        right = f"reads the components of the reward, and reward.arm={arm} declares none; use algorithm.advantage=grpo"
        raise ConfigError("algorithm.advantage", algorithm.advantage, right)
    if algorithm.overlong_penalty > 0:
        names = (*names, LENGTH)
    for name, weight in algorithm.component_weights.items():
        if name not in names:
            right = f"names no component of reward.arm={arm}: use {', '.join(names)}"
            raise ConfigError(f"algorithm.component_weights.{name}", weight, right)


def _check_bounds(algorithm: AlgorithmConfig) -> None:
    if 0 < algorithm.clip_dual <= 1:
        right = "must be above 1, or 0 for none: at 1 it would take the gradient of every negative advantage"
        raise ConfigError("algorithm.clip_dual", algorithm.clip_dual, right)
    low, high = algorithm.correction_low, algorithm.correction_high
    if CORRECTIONS[algorithm.correction].band and not low < 1 < high:
        key, value = ("correction_low", low) if low >= 1 else ("correction_high", high)
        right = f"must be {'below' if low >= 1 else 'above'} 1, where engine and learner agree"
        raise ConfigError(
            f"algorithm.{key}", value, f"{right}; algorithm.correction={algorithm.correction} keeps the band"
        )


def _check_correction(algorithm: AlgorithmConfig) -> None:
    """A bypass corrects by the ratio of the loss, so there must be one."""
    if CORRECTIONS[algorithm.correction].bypass and not LOSSES[algorithm.loss].ratio:
        right = f"must be another: algorithm.loss={algorithm.loss} has no ratio that could correct; use token_truncated"
        raise ConfigError("algorithm.correction", algorithm.correction, right)
