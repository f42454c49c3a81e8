"""What the processes of a run use, asked of its actors beside their work, now and then.

Nobody waits for an answer: metrics are the newest that there are, at most ``EVERY_S`` and one answer old. A member that
does not answer in time is left out, which says nothing about its health.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from actors.learner import RayLearnerGroup
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.pools.pool import Member, Pool
from tracelift_ray.usage import Usage, UsageMeter, usage_metrics

#: Seconds between two rounds, and for an answer.
EVERY_S, ANSWER_S = 10.0, 10.0


class UsageWatch:
    """Asks the members of ``pools()``; the ranks of ``learner`` tell it when they are asked whether they live.

    Attributes:
        node_id: that of the driver's node, set where Ray is up.
    """

    def __init__(self, pools: Callable[[], Sequence[Pool]], learner: RayLearnerGroup | None) -> None:
        self._pools = pools
        self._learner = learner
        self._driver = UsageMeter(children=False)  # its children are Ray and all that Ray starts
        self.node_id = ""
        self._answers: dict[str, Usage] = {}

    async def run(self) -> None:
        """Ask for ever."""
        while True:
            asked = [self._ask(pool, member) for pool in self._pools() for member in pool.members]
            found = await asyncio.gather(*asked)
            self._answers = {name: usage for name, usage in found if usage is not None}
            await asyncio.sleep(EVERY_S)

    def metrics(self) -> dict[str, float]:
        """Usage of driver, members and ranks, and of their nodes."""
        ranks = {} if self._learner is None else self._learner.usages()
        return usage_metrics({"driver": replace(self._driver.read(), node_id=self.node_id), **ranks, **self._answers})

    async def _ask(self, pool: Pool, member: Member) -> tuple[str, Usage | None]:
        name = f"{pool.name}/{member.index}"
        with contextlib.suppress(InfrastructureError, TimeoutError):
            # Past the pool, whose calls are the run's progress.
            return name, await asyncio.wait_for(member.handle.control("usage"), ANSWER_S)
        return name, None
