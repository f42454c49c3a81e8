"""Which pools sleep while the learner works: those that lie on its GPUs (``cluster.share_gpus``) and can.

Asleep, a model leaves the memory of its GPU to the learner; see ``rl/colocation.py`` for the turns that they take.
"""

from __future__ import annotations

from tracelift_ray.config.schema import RunConfig
from tracelift_ray.engines.kinds import engine_kind
from tracelift_ray.planning.placement import LEARNER
from tracelift_ray.planning.resources import demands
from tracelift_ray.reasoning_rm.scoring.kinds import scorer_kind


def sleeping_pools(config: RunConfig) -> frozenset[str]:
    """Names of the pools that sleep while the learner works."""
    beside = {pool for pools in config.cluster.share_gpus if LEARNER in pools for pool in pools}
    on_gpus = {demand.name for demand in demands(config) if demand.gpus > 0}
    can = {
        "planner": engine_kind(config.planner.engine).sleeps,
        "executor": engine_kind(config.executor.engine).sleeps,
        "reasoning_rm": scorer_kind(config.reasoning_rm).sleeps(config.reasoning_rm),
    }
    return frozenset(pool for pool, sleeps in can.items() if sleeps and pool in beside & on_gpus)
