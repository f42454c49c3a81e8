"""Which worker goes to which GPUs of which node: the map of a run, worked out before anything is started.

Pools that share GPUs are named together (``cluster.share_gpus``): with ``[[planner, learner]]`` planner engine *i* and
the learner's ranks lie on the same GPUs, which is what the ``ipc`` weight transfer needs. Every other pool has GPUs to
itself. A worker of several GPUs (tensor parallel) stays on one node; the learner's ranks lie on as few nodes as
possible, and planner engines on a node of the learner where there is room.

Pure: the nodes are given (found by Ray, of this machine, or described in a file), nothing is started. The same inputs
give the same map.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tracelift_ray.config.schema import RunConfig
from tracelift_ray.planning.resources import Node, PoolDemand, demands
from tracelift_ray.transfer.kinds import TRANSFERS

_ROUNDING = 1e-6
#: The pool whose ranks talk to each other all the time.
LEARNER = "learner"
#: The pool that takes its weights.
PLANNER = "planner"


@dataclass(frozen=True)
class Assignment:
    """Where one worker of a pool goes. ``gpus`` are numbers of the node's GPUs, empty for a worker on CPUs."""

    pool: str
    index: int
    node: str
    cpus: float
    gpus: tuple[int, ...] = ()


class PlacementError(ValueError):
    """The pools do not fit the nodes; the message says which, and the arithmetic."""


@dataclass(frozen=True)
class _Unit:
    """Workers that must lie on the same GPUs, and so on one node."""

    members: tuple[tuple[str, int], ...]
    offsets: Mapping[tuple[str, int], tuple[int, ...]]
    gpus: int
    cpus: float

    @property
    def trains(self) -> bool:
        return any(pool == LEARNER for pool, _ in self.members)

    @property
    def plans(self) -> bool:
        return any(pool == PLANNER for pool, _ in self.members)


class _Room:
    """What is still free on one node."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.cpus = node.cpus
        self.free = list(range(node.gpus))
        self.trains = False

    def fits(self, gpus: int, cpus: float) -> bool:
        return len(self.free) >= gpus and self.cpus + _ROUNDING >= cpus

    def take(self, gpus: int, cpus: float) -> tuple[int, ...]:
        self.cpus -= cpus
        taken, self.free = tuple(self.free[:gpus]), self.free[gpus:]
        return taken


def place(
    asked: Sequence[PoolDemand], nodes: Sequence[Node], share: Sequence[Sequence[str]] = (), transfer: str | None = None
) -> tuple[Assignment, ...]:
    """The map of a run, in the order of ``asked`` and of the workers of each.

    Args:
        asked: every pool's workers; ``gpus`` is a whole number, or a fraction below 1 of one GPU.
        nodes: what there is.
        share: pools that share GPUs.
        transfer: how weights reach the planner; one that needs one machine is refused across several.

    Raises:
        PlacementError: there is no room, or pools that share GPUs cannot.
    """
    by_name = {demand.name: demand for demand in asked}
    units = _units(by_name, share)
    rooms = [_Room(node) for node in nodes]
    placed: dict[tuple[str, int], Assignment] = {}
    learner_gpus = sum(unit.gpus for unit in units if unit.trains)
    for unit in sorted(units, key=lambda unit: (not unit.trains, -unit.gpus, not unit.plans)):
        room = _room_for(unit, rooms, learner_gpus)
        if room is None:
            raise PlacementError(_no_room(unit, rooms, by_name))
        taken = room.take(unit.gpus, unit.cpus)
        room.trains |= unit.trains
        for pool, index in unit.members:
            gpus = tuple(taken[offset] for offset in unit.offsets[pool, index])
            placed[pool, index] = Assignment(pool, index, room.node.name, by_name[pool].cpus, gpus)
    assignments = tuple(placed[demand.name, index] for demand in asked for index in range(demand.workers))
    if transfer is not None:
        _check_one_machine(assignments, transfer)
    return assignments


def _units(by_name: Mapping[str, PoolDemand], share: Sequence[Sequence[str]]) -> list[_Unit]:
    """Workers bound to the same GPUs, as units that can be placed one by one."""
    units: list[_Unit] = []
    shared = [[name for name in names if name in by_name and by_name[name].gpus > 0] for names in share]
    for names in (names for names in shared if len(names) > 1):
        units += _shared_units([by_name[name] for name in names])
    alone = set(by_name) - {name for names in shared if len(names) > 1 for name in names}
    for demand in (by_name[name] for name in by_name if name in alone):
        units += _own_units(demand)
    return units


def _own_units(demand: PoolDemand) -> list[_Unit]:
    """The workers of a pool that shares with no other; fractions of one GPU are put together."""
    if demand.gpus >= 1 or demand.gpus == 0:
        _check_whole(demand)
        gpus = round(demand.gpus)
        return [
            _Unit(((demand.name, i),), {(demand.name, i): tuple(range(gpus))}, gpus, demand.cpus)
            for i in range(demand.workers)
        ]
    if demand.name == LEARNER:
        raise PlacementError(f"learner.gpus_per_worker={demand.gpus:g}: two ranks cannot share a GPU; give each 1")
    per_gpu = math.floor(1 / demand.gpus + _ROUNDING)
    units = []
    for start in range(0, demand.workers, per_gpu):
        members = tuple((demand.name, i) for i in range(start, min(start + per_gpu, demand.workers)))
        units.append(_Unit(members, dict.fromkeys(members, (0,)), 1, demand.cpus * len(members)))
    return units


def _shared_units(demands: Sequence[PoolDemand]) -> list[_Unit]:
    """Pools on the same GPUs: each pool's workers are laid along one row of GPUs, then the row is cut where it can be.

    A worker's fraction is its share of each GPU that it is on, so shares on one GPU must not exceed 1.
    """
    rows = [(demand, max(1, round(demand.gpus))) for demand in demands]
    length = max(demand.workers * width for demand, width in rows)
    step = math.lcm(*(width for _, width in rows))
    for demand, width in rows:
        if demand.gpus > 1:
            _check_whole(demand)
        if demand.workers * width != length:
            lengths = ", ".join(f"{d.name} {d.workers} x {w} GPU" for d, w in rows)
            raise PlacementError(
                f"{' and '.join(d.name for d, _ in rows)} share GPUs, so they must lie on as many: {lengths}; change "
                f"{demand.key} or cluster.share_gpus"
            )
    load = sum(min(demand.gpus, 1.0) for demand, _ in rows if demand.gpus < 1)
    if load > 1 + _ROUNDING:
        parts = ", ".join(f"{demand.name} {demand.gpus:g}" for demand, _ in rows)
        raise PlacementError(f"the shares of one GPU add up to {load:g} ({parts}), which is more than 1")
    units = []
    for start in range(0, length, step):
        offsets: dict[tuple[str, int], tuple[int, ...]] = {}
        for demand, width in rows:
            for index in range(start // width, (start + step) // width):
                first = index * width - start
                offsets[demand.name, index] = tuple(range(first, first + width))
        cpus = sum(demand.cpus * (step // width) for demand, width in rows)
        units.append(_Unit(tuple(offsets), offsets, step, cpus))
    return units


def _check_whole(demand: PoolDemand) -> None:
    if abs(demand.gpus - round(demand.gpus)) > _ROUNDING:
        raise PlacementError(f"{demand.key}.gpus_per_worker={demand.gpus:g}: must be whole, or a fraction below 1")


def _room_for(unit: _Unit, rooms: Sequence[_Room], learner_gpus: int) -> _Room | None:
    """The node for a unit: the learner's ranks together, the others beside the learner, then where most is free."""
    fitting = [room for room in rooms if room.fits(unit.gpus, unit.cpus)]
    if not fitting:
        return None
    if unit.trains:
        # On a node of the learner already; else the smallest that holds all of it, else the largest.
        started = [room for room in fitting if room.trains]
        whole = [room for room in fitting if len(room.free) >= learner_gpus]
        if started or whole:
            return min(started or whole, key=lambda room: len(room.free))
        return max(fitting, key=lambda room: len(room.free))
    if unit.gpus == 0:
        return max(fitting, key=lambda room: (room.node.gpus == 0, room.cpus))
    if unit.plans:
        beside = [room for room in fitting if room.trains]
        return max(beside or fitting, key=lambda room: len(room.free))
    # The tightest node: larger gaps stay for larger workers.
    return min(fitting, key=lambda room: len(room.free))


def _no_room(unit: _Unit, rooms: Sequence[_Room], by_name: Mapping[str, PoolDemand]) -> str:
    """What a unit needs on one node, and what is free on each."""
    counts: dict[str, int] = {}
    for pool, _ in unit.members:
        counts[pool] = counts.get(pool, 0) + 1
    who = " and ".join(f"{count} {pool}" for pool, count in counts.items())
    needs = f"{unit.gpus} GPUs and {unit.cpus:g} CPUs" if unit.gpus else f"{unit.cpus:g} CPUs"
    free = ", ".join(f"{room.node.name} {len(room.free)} GPUs and {room.cpus:g} CPUs" for room in rooms) or "no node"
    gpus = sum(demand.total_gpus for demand in by_name.values())
    cpus = sum(demand.total_cpus for demand in by_name.values())
    have = f"{sum(room.node.gpus for room in rooms)} GPUs and {sum(room.node.cpus for room in rooms):g} CPUs"
    return (
        f"no node has room for {who}, which need {needs} on one node; still free: {free}. "
        f"The pools ask for {gpus:g} GPUs and {cpus:g} CPUs in all, the nodes have {have}"
    )


def placed(config: RunConfig, nodes: Sequence[Node]) -> tuple[Assignment, ...]:
    """The map of a training run. Raises ``PlacementError``."""
    return place(demands(config), nodes, config.cluster.share_gpus, config.stream.weight_transfer)


def _check_one_machine(placed: Iterable[Assignment], transfer: str) -> None:
    nodes = {pool: {each.node for each in placed if each.pool == pool} for pool in (LEARNER, PLANNER)}
    if TRANSFERS[transfer].one_machine and len(nodes[LEARNER] | nodes[PLANNER]) > 1 and nodes[LEARNER]:
        raise PlacementError(
            f"stream.weight_transfer={transfer} is for one machine, but the learner lies on "
            f"{', '.join(sorted(nodes[LEARNER]))} and planner engines on {', '.join(sorted(nodes[PLANNER]))}; use "
            "stream.weight_transfer=collective, or smaller pools"
        )
