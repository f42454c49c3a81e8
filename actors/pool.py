"""Ray actors as members of a pool (``tracelift_ray.pools``): how calls reach them, and what their failures mean.

Control calls (weights, health, statistics) have a concurrency group of their own, so that they never wait behind work.
Work travels in batches (``actors.mailbox``). A call that its caller gives up on is cancelled in the actor.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError, TaskCancelledError, TaskUnschedulableError

from actors.mailbox import Answer, Letter, Mailbox, Worker
from actors.placement import Placement
from actors.processes import end_process, whereabouts
from actors.runtime import worker_environment
from actors.telling import reason_of, told_cause, told_in_one_line
from tracelift_ray.config.models import PoolConfig
from tracelift_ray.errors import ComponentDead, InfrastructureError
from tracelift_ray.garbage import loading
from tracelift_ray.pools.pool import Pool, PoolLimits
from tracelift_ray.usage import Usage, UsageMeter

#: Control calls that an actor runs at a time.
CONTROL_CALLS = 8
#: Up to this size an object costs less in each call than in the object store.
BY_VALUE_BYTES = 8 * 2**10
#: Actors that this process started, by pool and index.
_STARTS: Counter[tuple[str, int]] = Counter()


class PoolActor:
    """What every pool's actors are made of. Subclasses have ``start``, ``close`` and methods that work.

    All of them run on one event loop, that of the work. Ray runs a concurrency group on a loop of its own, so control
    calls are handed over; where the work blocks its loop, they go unanswered, which is what a health check must see.
    """

    _loop: asyncio.AbstractEventLoop
    _worker: Worker
    _usage: UsageMeter

    async def open(self) -> int | None:
        """Start; the first call of all. What ``start`` returns: how many calls this actor can hold, where it knows."""
        self._loop = asyncio.get_running_loop()
        self._worker = Worker()
        self._usage = UsageMeter()
        with told_in_one_line(), loading():
            return await self.start()

    async def whereabouts(self) -> tuple[str, int, str]:
        """Node, process id and class of this actor."""
        return *whereabouts(), type(self).__name__

    async def accept(self, letters: Sequence[Letter], withdrawn: Sequence[int]) -> None:
        """Begin the work of ``letters``; end that of ``withdrawn``."""
        await self._worker.accept(self, letters, withdrawn)

    async def answers(self) -> list[Answer]:
        """Results that are ready, as soon as there is one."""
        return await self._worker.answers()

    async def start(self) -> int | None:
        """Return when this actor can work."""
        return None

    async def health(self) -> None:
        """Return if this actor can work; raise ``InfrastructureError`` if it cannot."""

    async def usage(self) -> Usage:
        """What this actor and the processes that it started use."""
        usage = await asyncio.to_thread(self._usage.read, self.figures())
        return replace(usage, node_id=whereabouts()[0])

    def figures(self) -> dict[str, float]:
        """What this actor says of its own work since it was asked last."""
        return {}

    async def close(self) -> None:
        """End what this actor owns."""

    @ray.method(concurrency_group="control")
    async def control(self, method: str, *args: Any) -> Any:
        """``method(*args)``, whatever work is under way."""
        handed_over = asyncio.run_coroutine_threadsafe(getattr(self, method)(*args), self._loop)
        return await asyncio.wrap_future(handed_over)


class RayHandle:
    """Implements ``pools.pool.Handle`` over an actor."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self._mailbox = Mailbox(actor, result_of)
        self._process: tuple[str, int, str] | None = None

    async def call(self, method: str, *args: Any) -> Any:
        return await self._mailbox.call(method, *args)

    async def control(self, method: str, *args: Any) -> Any:
        if method == "start":
            self._process = await result_of(self.actor.whereabouts.remote())
            return await result_of(self.actor.open.remote())
        return await result_of(self.actor.control.remote(method, *args))

    def kill(self) -> None:
        self._mailbox.close()
        ray.kill(self.actor)

    async def ended(self) -> None:
        if self._process is not None:
            with contextlib.suppress(TimeoutError, RayError):  # its node is gone, and the process with it
                await end_process(*self._process)


def remote_class(actor: type) -> Any:
    """The Ray actor class of ``actor``, with a concurrency group for control calls."""
    remote: Any = ray.remote  # its stubs do not know concurrency groups
    return remote(concurrency_groups={"control": CONTROL_CALLS})(actor)


def member_options(config: PoolConfig, placement: Placement, name: str, index: int) -> dict[str, Any]:
    """Ray options of one of a pool's actors: its name, its place and its threads."""
    return worker_options(config.cpus_per_worker, placement, name, index)


def worker_options(cpus: float, placement: Placement, name: str, index: int) -> dict[str, Any]:
    """Ray options of worker ``index`` of a pool, or of a rank of the learner."""
    environment = worker_environment(cpus, placement.variables(name, index))
    return {"name": actor_name(name, index)} | placement.options(name, index) | environment


def actor_name(pool: str, index: int) -> str:
    """What Ray shows an actor as: ``planner[0]`` as in messages, then ``planner[0], start 2``.

    Counted over all that this process starts, since Ray gives a name away again only some time after its actor's end.
    """
    _STARTS[pool, index] += 1
    start = _STARTS[pool, index]
    return f"{pool}[{index}]" + (f", start {start}" if start > 1 else "")


def actor_pool(name: str, config: PoolConfig, startup_s: float, spawn: Callable[[int, int], Any]) -> Pool:
    """A pool whose members are the actors that ``spawn(index, restart)`` makes of a ``remote_class``."""
    limits = PoolLimits(
        workers=config.workers,
        capacity=config.max_concurrency,
        deadline_s=config.deadline_s,
        retries=config.retries,
        startup_s=startup_s,
        health_s=config.health_s,
    )
    return Pool(name, limits, lambda index, restart: RayHandle(spawn(index, restart)))


class References:
    """What calls carry of objects that many of them share: a small one itself, a large one as a reference.

    A large object is put into the object store once, and stays there while it is among the ``kept`` used last.
    """

    def __init__(self, kept: int = 4096) -> None:
        self._kept = kept
        self._carried: OrderedDict[int, tuple[Any, Any]] = OrderedDict()

    def of(self, value: Any) -> Any:
        """What stands for ``value`` in a call. The key is the identity: two equal objects are put twice."""
        known = self._carried.get(id(value))
        if known is None:
            small = len(pickle.dumps(value)) <= BY_VALUE_BYTES
            known = self._carried[id(value)] = value, value if small else ray.put(value)  # holds it, and so its id
            if len(self._carried) > self._kept:
                self._carried.popitem(last=False)
        self._carried.move_to_end(id(value))
        return known[1]


async def result_of(ref: Any) -> Any:
    """Await an object reference; cancelling this cancels the call in the actor.

    Raises:
        ComponentDead: the actor is gone.
        Exception: what the actor's method raised, by its own type.
    """
    try:
        return await ref
    except asyncio.CancelledError:
        if ray.is_initialized():  # else Ray would start, or join a cluster that happens to run on this machine
            ray.cancel(ref)
        raise
    except RayTaskError as error:
        raise told_cause(error) from None
    except (RayActorError, TaskUnschedulableError) as error:
        raise ComponentDead("actor", reason_of(error)) from None
    except TaskCancelledError:
        raise InfrastructureError("actor", "the call was cancelled") from None
