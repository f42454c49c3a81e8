"""The configuration that a run saved, made readable for this version: ``config.yaml`` of runs of older ones too.

A field that the run did not know yet gets its default, and a value that has another name now gets that name. What is
not listed here stays as it was saved.
"""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

#: New names of values, by dotted key and old name.
_RENAMED = {
    "algorithm.advantage": {"group": "grpo"},
    "sandbox.tier": {"userns": "namespaces", "flat": "landlock"},
}


def completed(saved: DictConfig, defaults: DictConfig) -> DictConfig:
    """A run's saved configuration with the fields and names of this version.

    Args:
        saved: what ``config.yaml`` of the run directory holds.
        defaults: what Hydra composes from ``conf/`` today.
    """
    values: Any = OmegaConf.to_container(saved, resolve=False)
    _fill(values, OmegaConf.to_container(defaults, resolve=False))
    config = OmegaConf.create(values)
    for key, names in _RENAMED.items():
        value = OmegaConf.select(config, key)
        if value in names:
            OmegaConf.update(config, key, names[value])
    return config


def _fill(values: dict[Any, Any], defaults: Any) -> None:
    for key, default in defaults.items():
        if isinstance(default, dict) and isinstance(values.get(key), dict):
            _fill(values[key], default)
        else:
            values.setdefault(key, default)
