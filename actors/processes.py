"""Ends an actor's process from its node: a stopped one does not end when Ray asks it to, and keeps its place."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

#: Seconds in which a process is ended.
END_S = 10.0


def whereabouts() -> tuple[str, int]:
    """Node and process id of the actor that asks."""
    return ray.get_runtime_context().get_node_id(), os.getpid()


async def end_process(node_id: str, pid: int, kind: str) -> None:
    """Kill a process that is still an actor of the class ``kind``. Raises ``TimeoutError`` where its node is silent."""
    if not ray.is_initialized():  # it went with its Ray
        return
    there = NodeAffinitySchedulingStrategy(node_id, soft=False)
    killing = ray.remote(num_cpus=0)(_kill).options(scheduling_strategy=there).remote(pid, kind)
    await asyncio.wait_for(killing, END_S)


def _kill(pid: int, kind: str) -> None:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as line:
        if kind.encode() in line.read():
            os.kill(pid, signal.SIGKILL)
