"""The configuration that a run saved, made readable for this version: ``config.yaml`` of runs of older ones too.

A field that the run did not know yet gets its default, and a name that has changed since (``OneOf.renamed`` in the
schema) becomes the present one.
"""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from tracelift_ray.config.described import field_types
from tracelift_ray.config.rules import OneOf
from tracelift_ray.config.schema import RunConfig


def completed(saved: DictConfig, defaults: DictConfig) -> DictConfig:
    """A run's saved configuration with the fields and names of this version.

    Args:
        saved: what ``config.yaml`` of the run directory holds.
        defaults: what Hydra composes from ``conf/`` today.
    """
    values: Any = OmegaConf.to_container(saved, resolve=False)
    _fill(values, OmegaConf.to_container(defaults, resolve=False))
    config = OmegaConf.create(values)
    for key, hint in field_types(RunConfig).items():
        for rule in getattr(hint, "__metadata__", ()):
            names = dict(rule.renamed) if isinstance(rule, OneOf) else {}
            if names and (value := OmegaConf.select(config, key)) in names:
                OmegaConf.update(config, key, names[value])
    return config


def _fill(values: dict[Any, Any], defaults: Any) -> None:
    for key, default in defaults.items():
        if isinstance(default, dict) and isinstance(values.get(key), dict):
            _fill(values[key], default)
        else:
            values.setdefault(key, default)
