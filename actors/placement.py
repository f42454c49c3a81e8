"""Where actors go: one placement group of node-shaped bundles, and the map that says who is on which GPU.

The map is worked out first (``tracelift_ray.planning.placement``), against what each node has. Ray then reserves one
bundle for each node of the map, and says which GPUs these are; an actor finds exactly those of its place in
``CUDA_VISIBLE_DEVICES``. The wait for the bundles has a deadline, so that a busy cluster never stalls in silence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from tracelift_ray.errors import InfrastructureError
from tracelift_ray.planning.placement import Assignment

logger = logging.getLogger(__name__)
PROGRESS_S = 15.0
#: With it Ray leaves ``CUDA_VISIBLE_DEVICES`` as the map has it.
OWN_DEVICES = {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1"}


class Placement:
    """The places of a run's actors. Before ``reserve`` an actor has no place and takes nothing."""

    def __init__(self) -> None:
        self._group: PlacementGroup | None = None
        self._places: dict[tuple[str, int], Assignment] = {}
        self._bundles: dict[str, int] = {}
        self._devices: list[list[str]] = []
        self.lost_nodes = 0

    async def reserve(self, assignments: Sequence[Assignment], timeout_s: float) -> None:
        """Reserve what ``assignments`` use of each node.

        Raises:
            InfrastructureError: names what could not be placed in time, and what is free; or the nodes that did not
                say in time which GPUs they gave.
        """
        self._places = {(each.pool, each.index): each for each in assignments}
        nodes = list(dict.fromkeys(each.node for each in assignments))
        amounts = [_amounts([each for each in assignments if each.node == node]) for node in nodes]
        bundles = {node: bundle for node, bundle in zip(nodes, amounts, strict=True) if bundle}
        if not bundles:
            return
        self._bundles = {node: index for index, node in enumerate(bundles)}
        strategy = "STRICT_SPREAD" if len(bundles) > 1 else "PACK"
        group = self._group = placement_group(list(bundles.values()), strategy=strategy)
        await self._wait(group, timeout_s, list(bundles.values()))
        try:
            self._devices = await _all_devices(group, bundles, timeout_s)
        except InfrastructureError:
            self.release()
            raise

    def options(self, name: str, index: int) -> dict[str, Any]:
        """The Ray options that put worker ``index`` of pool ``name`` into its place."""
        place = self._places.get((name, index))
        if place is None or self._group is None:
            return {"num_cpus": 0, "num_gpus": 0}
        bundle = self._bundles.get(place.node)
        options: dict[str, Any] = {"num_cpus": place.cpus, "num_gpus": 0}
        if bundle is not None:
            options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(
                self._group, placement_group_bundle_index=bundle, placement_group_capture_child_tasks=True
            )
        return options

    def variables(self, name: str, index: int) -> dict[str, str]:
        """The environment in which worker ``index`` of pool ``name`` sees its GPUs; empty for one on CPUs."""
        place = self._places.get((name, index))
        if place is None or not place.gpus:
            return {}
        there = self._devices[self._bundles[place.node]]  # the map uses a node's GPUs from 0 on
        return OWN_DEVICES | {"CUDA_VISIBLE_DEVICES": ",".join(there[gpu] for gpu in place.gpus)}

    async def watch(self, alive: Callable[[], Iterable[str]], every_s: float = PROGRESS_S) -> None:
        """Say which workers go with a node that is lost, for as long as this is awaited. ``alive``: nodes by name."""
        lost: set[str] = set()
        while True:
            there = set(await asyncio.to_thread(alive))
            for node in [node for node in self._bundles if node not in there and node not in lost]:
                lost.add(node)
                self.lost_nodes += 1
                gone = [each for each in self._places.values() if each.node == node]
                members = ", ".join(f"{each.pool}[{each.index}]" for each in gone)
                logger.warning(
                    "node %s is lost, and with it %s; they start again on a node with %s free, if one joins in time",
                    *(node, members, _amounts(gone)),
                )
            await asyncio.sleep(every_s)

    def release(self) -> None:
        """Give the resources back."""
        if self._group is not None:
            remove_placement_group(self._group)
            self._group = None

    async def _wait(self, group: PlacementGroup, timeout_s: float, bundles: list[dict[str, float]]) -> None:
        ready = asyncio.ensure_future(_ready(group))
        deadline = monotonic() + timeout_s
        while not ready.done():
            await asyncio.wait([ready], timeout=min(PROGRESS_S, max(0.1, deadline - monotonic())))
            if not ready.done() and monotonic() >= deadline:
                ready.cancel()
                self.release()
                raise InfrastructureError("cluster", _shortfall(bundles, timeout_s))
            if not ready.done():
                logger.warning("waiting for resources for %d bundles", len(bundles))


def _amounts(assignments: Sequence[Assignment]) -> dict[str, float]:
    """What the workers of one node need of it, in Ray's words; a GPU that several share counts once."""
    cpus = sum(each.cpus for each in assignments)
    gpus = len({gpu for each in assignments for gpu in each.gpus})
    return {key: amount for key, amount in (("CPU", cpus), ("GPU", float(gpus))) if amount > 0}


def _shortfall(bundles: list[dict[str, float]], timeout_s: float) -> str:
    free = {key: ray.available_resources().get(key, 0.0) for key in ("CPU", "GPU")}
    return (
        f"no room after {timeout_s:g} s (cluster.placement_timeout_s) for one node with each of {bundles}; free now: "
        f"{free}. Make the pools smaller, or check what else runs on the cluster (ray status)"
    )


async def _all_devices(
    group: PlacementGroup, bundles: Mapping[str, Mapping[str, float]], timeout_s: float
) -> list[list[str]]:
    """The GPUs of every node's bundle, in order. Raises ``InfrastructureError`` where a node does not say in time."""
    probes = {
        node: asyncio.ensure_future(_devices(group, index, bundle.get("GPU", 0.0)))
        for index, (node, bundle) in enumerate(bundles.items())
    }
    try:
        async with asyncio.timeout(timeout_s):
            return await asyncio.gather(*probes.values())
    except TimeoutError:
        late = " and ".join(node for node, probe in probes.items() if probe.cancelled() or not probe.done())
        raise InfrastructureError(
            "cluster",
            f"{late} did not say in {timeout_s:g} s (cluster.placement_timeout_s) which GPUs were reserved there; "
            "check that Ray can start workers on it (ray status, and the logs there)",
        ) from None


async def _devices(group: PlacementGroup, bundle: int, gpus: float) -> list[str]:
    """The GPUs that Ray gave to a bundle, as its node counts them."""
    if not gpus:
        return []
    inside = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=bundle)
    return await ray.remote(num_cpus=0, num_gpus=gpus, scheduling_strategy=inside)(_own_devices).remote()


def _own_devices() -> list[str]:
    return [str(gpu) for gpu in ray.get_gpu_ids()]


async def _ready(group: PlacementGroup) -> None:
    await group.ready()
