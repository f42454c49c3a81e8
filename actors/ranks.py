"""Calls to ranks that work together: all or none. One that died or hangs is named, and none is called any more.

While they are up each is asked from time to time whether it lives, beside its work, so that a loss in a long update is
known at once. A rank that is busy answers; one whose process is stopped does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import ray
from ray.exceptions import GetTimeoutError

from actors.pool import result_of
from actors.processes import end_process
from tracelift_ray.errors import ComponentDead, LearnerLost
from tracelift_ray.usage import Usage

logger = logging.getLogger(__name__)
#: Seconds between two rounds of questions; for an answer; and without any, until a rank counts as lost.
EVERY_S, ANSWER_S, SILENT_S = 3.0, 10.0, 60.0
#: Seconds in which ranks end by themselves, or by force.
CLOSE_S = 10.0


@dataclass(frozen=True)
class RankProcess:
    """Where a rank runs, and what it uses."""

    address: str
    node_id: str
    pid: int
    usage: Usage | None = None

    @staticmethod
    def here(usage: Usage) -> RankProcess:
        """That of the actor that asks."""
        node_id = ray.get_runtime_context().get_node_id()
        return RankProcess(ray.util.get_node_ip_address(), node_id, os.getpid(), replace(usage, node_id=node_id))


class Ranks:
    """The actors of all ranks. ``actors`` have ``process``, ``close`` and the methods that are called.

    Attributes:
        losses: how often the ranks were lost, over all their lives.
    """

    def __init__(self) -> None:
        self.actors: list[Any] = []
        self.processes: list[RankProcess] = []  # as far as they are known
        self.losses = 0
        self._lost: asyncio.Future[LearnerLost] | None = None
        self._watching: list[asyncio.Future[None]] = []

    async def locate(self, deadline_s: float) -> None:
        """Learn where the ranks run."""
        self.processes = await self.call_all(deadline_s, "process")

    def watch(self) -> None:
        """Ask from now on whether they live."""
        self._watching = [asyncio.ensure_future(self._ask(rank)) for rank in range(len(self.actors))]

    async def call(self, deadline_s: float, method: str, *args: Any) -> Any:
        """``method`` on all; the answer of the first."""
        return (await self.call_all(deadline_s, method, *args))[0]

    async def call_all(self, deadline_s: float, method: str, *args: Any, first: bool = False) -> list[Any]:
        """``method`` on all, or on the ``first`` alone; the answers. One rank that fails fails the call.

        Raises:
            LearnerLost: a rank died, is late, or was lost before.
        """
        lost = self._loss()
        actors = self.actors[:1] if first else self.actors
        calls = [asyncio.ensure_future(result_of(getattr(actor, method).remote(*args))) for actor in actors]
        answers = asyncio.gather(*calls)
        ends: list[asyncio.Future[Any]] = [answers, lost]
        try:
            async with asyncio.timeout(deadline_s):
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                if lost.done():
                    raise lost.result()
                return await answers
        except (TimeoutError, GetTimeoutError):
            late = [rank for rank, call in enumerate(calls) if not call.done() or call.cancelled()]
            cause = f"did not finish {method} in {deadline_s:g} s; check the logs there and the load of the nodes"
            self._lose(late, cause)
        except ComponentDead as error:
            dead = [rank for rank, call in enumerate(calls) if _ended_by(call, ComponentDead)]
            self._lose(dead, f"died during {method} ({error.cause})")
        finally:
            answers.cancel()
            for call in calls:
                call.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):  # it is known, or of no interest any more
                await answers

    async def end(self, in_order: bool) -> None:
        """End all ranks: where ``in_order``, they are asked first."""
        for watching in self._watching:
            watching.cancel()
        if in_order and not self._loss().done():
            closing = (asyncio.wait_for(result_of(actor.close.remote()), CLOSE_S) for actor in self.actors)
            await asyncio.gather(*closing, return_exceptions=True)
        for actor in self.actors:
            ray.kill(actor)
        if self._loss().done():  # a process that is stopped does not end when Ray asks it to
            ending = (end_process(each.node_id, each.pid, "LearnerActor") for each in self.processes)
            await asyncio.gather(*ending, return_exceptions=True)
        self.actors, self.processes, self._watching, self._lost = [], [], [], None

    async def _ask(self, rank: int) -> None:
        """Ask one rank until it is lost."""
        clock = asyncio.get_running_loop().time
        answered = clock()
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                async with asyncio.timeout(ANSWER_S):  # wait_for of Python 3.11 can lose a cancellation to an answer
                    self.processes[rank] = await result_of(self.actors[rank].process.remote())
                answered = clock()
            except TimeoutError:
                silent = clock() - answered
                if silent >= SILENT_S:
                    cause = f"has not answered for {silent:.0f} s"
                else:
                    logger.warning("learner: %s has not answered for %.0f s", self._names([rank]), silent)
                    continue
            except ComponentDead as error:
                cause = f"died ({error.cause})"
            else:
                continue
            with contextlib.suppress(LearnerLost):  # calls under way, and the next one, raise it
                self._lose([rank], cause)
            return

    def _loss(self) -> asyncio.Future[LearnerLost]:
        """Done once the ranks are lost."""
        if self._lost is None:
            self._lost = asyncio.get_running_loop().create_future()
        return self._lost

    def _lose(self, ranks: Sequence[int], cause: str) -> NoReturn:
        """These ranks are lost, and so all are. Raises ``LearnerLost``, of what was noticed first."""
        lost = self._loss()
        if not lost.done():
            self.losses += 1
            error = LearnerLost("learner", f"{self._names(ranks)} {cause}")
            logger.warning("%s", error)
            lost.set_result(error)
        raise lost.result()

    def _names(self, ranks: Sequence[int]) -> str:
        """Ranks with their nodes, for messages."""
        places = {rank: f" on {each.address}" for rank, each in enumerate(self.processes)}
        return " and ".join(f"rank {rank}{places.get(rank, '')}" for rank in ranks)


def _ended_by(call: asyncio.Future[Any], kind: type[Exception]) -> bool:
    return call.done() and not call.cancelled() and isinstance(call.exception(), kind)
