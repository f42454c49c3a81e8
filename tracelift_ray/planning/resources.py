"""The arithmetic of resources: what the pools of a run ask for, and whether a cluster has it.

Pure, and the same for the check before Ray starts, for the plan of a dry run and for the placement of actors.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.schema import RunConfig
from tracelift_ray.reward.arms import requirements

_ROUNDING = 1e-6


@dataclass(frozen=True)
class Node:
    """What one machine has: logical CPUs, GPUs, and the memory of one GPU and of the machine where that is known."""

    name: str
    cpus: float
    gpus: int
    gpu_memory_gib: float | None = None
    memory_gib: float | None = None


@dataclass(frozen=True)
class ClusterResources:
    """What a cluster has in all: logical CPUs, GPUs, and nodes that are alive; ``machines`` where each is known."""

    cpus: float
    gpus: float
    nodes: int = 1
    machines: tuple[Node, ...] = ()


def resources_of(machines: Sequence[Node]) -> ClusterResources:
    """What ``machines`` have together."""
    cpus, gpus = sum(node.cpus for node in machines), float(sum(node.gpus for node in machines))
    return ClusterResources(cpus, gpus, len(machines), tuple(machines))


@dataclass(frozen=True)
class PoolDemand:
    """What one pool asks for: ``workers`` bundles of ``cpus`` and ``gpus`` each. ``key`` is where to change it."""

    name: str
    key: str
    workers: int
    cpus: float
    gpus: float

    @property
    def total_cpus(self) -> float:
        return self.workers * self.cpus

    @property
    def total_gpus(self) -> float:
        return self.workers * self.gpus

    @property
    def bundle(self) -> dict[str, float]:
        """What one worker reserves, in Ray's words."""
        return {key: amount for key, amount in (("CPU", self.cpus), ("GPU", self.gpus)) if amount > 0}


def demands(config: RunConfig) -> tuple[PoolDemand, ...]:
    """Every pool of a training run with its demand; a reasoning RM pool only where the reward needs a rubric score."""
    pools = {"planner": config.planner.pool, "executor": config.executor.pool, "verifier": config.verifier.pool}
    if requirements(config.reward).rubric:
        pools["reasoning_rm"] = config.reasoning_rm.pool
    asked = [
        PoolDemand(name, f"{name}.pool", pool.workers, pool.cpus_per_worker, pool.gpus_per_worker)
        for name, pool in pools.items()
    ]
    learner = config.learner
    asked.append(
        PoolDemand("learner", "learner", learner.num_workers, learner.cpus_per_worker, learner.gpus_per_worker)
    )
    return tuple(asked)


def total_cpus(config: RunConfig) -> float:
    """Logical CPUs that all pools reserve together."""
    return sum(demand.total_cpus for demand in demands(config))


def shortfalls(
    asked: tuple[PoolDemand, ...], resources: ClusterResources, share: Sequence[Sequence[str]] = ()
) -> list[str]:
    """One clause for each resource of which there is too little in all; empty where there is enough.

    GPUs that pools ``share`` cannot be added up: the map of the run (``placement``) counts them.
    """
    lacking = []
    for resource, there, amounts in (
        ("CPUs", resources.cpus, {demand.name: demand.total_cpus for demand in asked}),
        ("GPUs", resources.gpus, {demand.name: demand.total_gpus for demand in asked}),
    ):
        total = sum(amounts.values())
        if total > there + _ROUNDING and not (share and resource == "GPUs"):
            parts = ", ".join(f"{name} {amount:g}" for name, amount in amounts.items() if amount)
            lacking.append(f"{total:g} {resource} asked ({parts}), {there:g} there: {total - there:g} too few")
    return lacking


def local_resources(config: RunConfig) -> ClusterResources:
    """What a local Ray of this run would have. Unknown GPUs count as enough."""
    gpus = config.cluster.num_gpus or visible_gpus()
    cpus = float(config.cluster.num_cpus) or total_cpus(config)
    if gpus is None:
        return ClusterResources(cpus, math.inf)
    return ClusterResources(cpus, float(gpus), machines=(Node("this machine", cpus, gpus),))


def check_declared_resources(config: RunConfig) -> None:
    """Refuse a local run that asks for more than its machine has, as far as that is known without starting Ray.

    A dry run is let through: its plan shows the shortfall.

    Raises:
        ConfigError: names the pool that asks for most of what there is too little of.
    """
    if config.cluster.address != "local" or config.dry_run:
        return
    asked = demands(config)
    for lacking in shortfalls(asked, local_resources(config), config.cluster.share_gpus):
        if "GPUs" in lacking:
            most = max(asked, key=lambda demand: demand.total_gpus)
            field, value = "gpus_per_worker", most.gpus
        else:
            most = max(asked, key=lambda demand: demand.total_cpus)
            field, value = "cpus_per_worker", most.cpus
        raise ConfigError(
            f"{most.key}.{field}", value, f"{lacking} on this machine; make pools smaller or use cluster=ray"
        )


def visible_gpus(devices: Path = Path("/dev")) -> int | None:
    """GPUs of this machine that a local Ray would find; None where that cannot be told without a driver library."""
    if any((devices / name).exists() for name in ("kfd", "dxg")):
        return None
    found = sum(bool(re.fullmatch(r"nvidia\d+", path.name)) for path in devices.glob("nvidia*"))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return found
    chosen = [device for device in visible.split(",") if device.strip() not in ("", "-1")]
    return min(found, len(chosen))
