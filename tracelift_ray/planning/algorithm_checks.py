"""Rules across the fields of ``algorithm``, and between them and the rest of a run. Called by ``checks.check_run``."""

from __future__ import annotations

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.schema import AlgorithmConfig, RunConfig
from tracelift_ray.reward.arms import ARMS
from tracelift_ray.rl.advantages import ESTIMATORS
from tracelift_ray.rl.signal import LENGTH


def check_algorithm(config: RunConfig) -> None:
    """Check every rule of the algorithm. Raises ConfigError for the first that does not hold."""
    _check_group_size(config.algorithm)
    _check_components(config)


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
