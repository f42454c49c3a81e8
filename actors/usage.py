"""What the processes of a run use, asked of its actors beside their work, now and then.

Nobody waits for an answer: metrics join the readings since they were asked for before; where there is none, the newest
reading stands. A member that does not answer in time is left out, which says nothing about its health.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from actors.learner import RayLearnerGroup
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.pools.pool import Member, Pool
from tracelift_ray.usage import Usage, UsageMeter, joined, usage_metrics

#: Seconds for an answer.
ANSWER_S = 10.0


class UsageWatch:
    """Asks the members of ``pools()`` every ``every_s`` seconds; the ranks of ``learner`` tell it when they are asked
    whether they live.

    Attributes:
        node_id: that of the driver's node, set where Ray is up.
    """

    def __init__(self, pools: Callable[[], Sequence[Pool]], learner: RayLearnerGroup | None, every_s: float) -> None:
        self._pools = pools
        self._learner = learner
        self._every_s = every_s
        self._driver = UsageMeter(children=False)  # its children are Ray and all that Ray starts
        self.node_id = ""
        self._newest: dict[str, Usage] = {}  # of the members that answered in the last round
        self._readings: dict[str, list[Usage]] = {}  # since the metrics were asked for

    async def run(self) -> None:
        """Ask for ever."""
        while True:
            asked = [self._ask(pool, member) for pool in self._pools() for member in pool.members]
            found = await asyncio.gather(*asked)
            self._newest = {name: usage for name, usage in found if usage is not None}
            self._note(self._newest | self._ranks())
            await asyncio.sleep(self._every_s)

    def metrics(self) -> dict[str, float]:
        """Usage of driver, members and ranks, and of their nodes, since this was asked for before."""
        ranks = self._ranks()
        self._note(ranks)
        found = {name: joined(self._readings.get(name, [usage])) for name, usage in (ranks | self._newest).items()}
        self._readings = {}
        return usage_metrics({"driver": replace(self._driver.read(), node_id=self.node_id), **found})

    def _ranks(self) -> dict[str, Usage]:
        return {} if self._learner is None else self._learner.usages()

    def _note(self, usages: Mapping[str, Usage]) -> None:
        for name, usage in usages.items():
            self._readings.setdefault(name, []).append(usage)

    async def _ask(self, pool: Pool, member: Member) -> tuple[str, Usage | None]:
        name = f"{pool.name}/{member.index}"
        with contextlib.suppress(InfrastructureError, TimeoutError):
            # Past the pool, whose calls are the run's progress.
            return name, await asyncio.wait_for(member.handle.control("usage"), ANSWER_S)
        return name, None
