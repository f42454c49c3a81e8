"""Turns on shared GPUs: the pools on the learner's GPUs sleep while it works.

A planner engine keeps nothing of its weights when it sleeps. So the order is: all sleep, the learner updates, new
weights go to the planner (which takes back memory for weights alone), all wake.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol


class Sleeper(Protocol):
    """A pool whose members can free their GPUs. Neither call fails: a member that cannot is replaced."""

    async def sleep(self) -> None:
        """Return once no member holds memory of its GPU for weights or caches."""

    async def wake(self) -> None:
        """Return once every member has taken its memory again."""


class SharedGpus:
    """The pools that lie on the learner's GPUs; without any, both calls do nothing."""

    def __init__(self, pools: Sequence[Sleeper] = ()) -> None:
        self._pools = tuple(pools)

    @property
    def present(self) -> bool:
        """Whether there are such pools."""
        return bool(self._pools)

    async def to_learner(self) -> None:
        """The GPUs are the learner's."""
        await asyncio.gather(*(pool.sleep() for pool in self._pools))

    async def to_pools(self) -> None:
        """The GPUs are the pools' again. A planner must have received weights since ``to_learner``."""
        await asyncio.gather(*(pool.wake() for pool in self._pools))
