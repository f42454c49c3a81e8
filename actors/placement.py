"""Where the actors of a pool go: one bundle for each worker, placed before any actor is started.

The arithmetic is checked first (``tracelift_ray.planning.resources``); then the wait for placement has a deadline and
says what is still waiting, so that a cluster which cannot hold a pool never stalls in silence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from time import monotonic
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from tracelift_ray.planning.resources import PoolDemand
from tracelift_ray.types import InfrastructureError

logger = logging.getLogger(__name__)
PROGRESS_S = 15.0
#: The pool whose workers talk to each other all the time.
TOGETHER = "learner"


class Placement:
    """The placement groups of a run."""

    def __init__(self) -> None:
        self._groups: dict[str, PlacementGroup] = {}
        self._asked: dict[str, PoolDemand] = {}

    async def reserve(self, asked: Iterable[PoolDemand], timeout_s: float) -> None:
        """Reserve all of ``asked``; the learner's ranks go on as few nodes as possible, other pools are spread.

        Raises:
            InfrastructureError: names what could not be placed in time, and what is free.
        """
        for demand in asked:
            self._asked[demand.name] = demand
            if demand.bundle:
                strategy = "PACK" if demand.name == TOGETHER else "SPREAD"
                self._groups[demand.name] = placement_group([demand.bundle] * demand.workers, strategy=strategy)
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
        demand = self._asked[name]
        options: dict[str, Any] = {"num_cpus": demand.cpus, "num_gpus": demand.gpus}
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
        asked = "; ".join(f"{name}: {self._asked[name].workers} x {self._asked[name].bundle}" for name in waiting)
        free = {key: ray.available_resources().get(key, 0.0) for key in ("CPU", "GPU")}
        return (
            f"no room after {timeout_s:g} s (cluster.placement_timeout_s) for {asked}; free now: {free}. "
            "Make the pools smaller, or check what else runs on the cluster (ray status)"
        )


async def _ready(group: PlacementGroup) -> None:
    await group.ready()
