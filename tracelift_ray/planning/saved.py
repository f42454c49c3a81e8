"""The configuration that a run saved, made readable for this version: ``config.yaml`` of runs of older ones too.

A field that the run did not know yet gets its default, and a name that has changed since (``OneOf.renamed`` in the
schema) becomes the present one.
"""

from __future__ import annotations

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
    plain = (OmegaConf.to_container(each, resolve=False) for each in (defaults, saved))
    config = OmegaConf.merge(*plain)
    assert isinstance(config, DictConfig)
    for key, hint in field_types(RunConfig).items():
        for rule in getattr(hint, "__metadata__", ()):
            names = dict(rule.renamed) if isinstance(rule, OneOf) else {}
            if names and (value := OmegaConf.select(config, key)) in names:
                OmegaConf.update(config, key, names[value])
    return config
