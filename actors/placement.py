"""Where the actors of a pool go: one bundle for each worker, placed before any actor is started.

The arithmetic is checked first (``tracelift_ray.config.resources``); then the wait for placement has a deadline and
says what is still waiting, so that a cluster which cannot hold a pool never stalls in silence.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from time import monotonic
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from tracelift_ray.types import InfrastructureError

logger = logging.getLogger(__name__)
PROGRESS_S = 15.0


@dataclass(frozen=True)
class WorkerShape:
    """What one worker of a pool holds. ``together`` asks for all workers on as few nodes as possible."""

    name: str
    workers: int
    cpus: float
    gpus: float
    together: bool = False

    def bundle(self) -> dict[str, float]:
        return {key: value for key, value in (("CPU", self.cpus), ("GPU", self.gpus)) if value > 0}


class Placement:
    """The placement groups of a run."""

    def __init__(self) -> None:
        self._groups: dict[str, PlacementGroup] = {}
        self._shapes: dict[str, WorkerShape] = {}

    async def reserve(self, shapes: list[WorkerShape], timeout_s: float) -> None:
        """Reserve all of ``shapes``. Raises ``InfrastructureError`` naming what could not be placed in time."""
        for shape in shapes:
            self._shapes[shape.name] = shape
            if shape.bundle():
                strategy = "PACK" if shape.together else "SPREAD"
                self._groups[shape.name] = placement_group([shape.bundle()] * shape.workers, strategy=strategy)
        waiting = {name: asyncio.ensure_future(_ready(group)) for name, group in self._groups.items()}
        deadline = monotonic() + timeout_s
        while waiting:
            await asyncio.wait(waiting.values(), timeout=min(PROGRESS_S, max(0.1, deadline - monotonic())))
            waiting = {name: future for name, future in waiting.items() if not future.done()}
            if waiting and monotonic() >= deadline:
                self.release()
                raise InfrastructureError("cluster", self._shortfall(list(waiting), timeout_s))
            if waiting:
                logger.info("waiting for resources for: %s", ", ".join(waiting))

    def options(self, name: str, index: int) -> dict[str, Any]:
        """The Ray options that put worker ``index`` of pool ``name`` into its bundle."""
        shape = self._shapes[name]
        options: dict[str, Any] = {"num_cpus": shape.cpus, "num_gpus": shape.gpus}
        if name in self._groups:
            options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(
                self._groups[name], placement_group_bundle_index=index, placement_group_capture_child_tasks=True
            )
        return options

    def release(self) -> None:
        """Give the resources back."""
        for group in self._groups.values():
            remove_placement_group(group)
        self._groups.clear()

    def _shortfall(self, waiting: list[str], timeout_s: float) -> str:
        asked = "; ".join(f"{name}: {self._shapes[name].workers} x {self._shapes[name].bundle()}" for name in waiting)
        free = {key: ray.available_resources().get(key, 0.0) for key in ("CPU", "GPU")}
        return (
            f"no room after {timeout_s:g} s (cluster.placement_timeout_s) for {asked}; free now: {free}. "
            "Make the pools smaller, or check what else runs on the cluster (ray status)"
        )


async def _ready(group: PlacementGroup) -> None:
    await group.ready()
