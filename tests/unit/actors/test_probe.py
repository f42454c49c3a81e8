"""The run directory is looked at from every node; the nodes are stand-ins."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from actors import runtime
from tests.hang import HANG_S
from tracelift_ray.errors import InfrastructureError

DIRECTORY: Any = SimpleNamespace(path="/runs/a", run_id="a")


def nodes(monkeypatch: pytest.MonkeyPatch, look: Callable[[str], Awaitable[None]]) -> None:
    """Two nodes that live and one that does not; ``look`` is what a node does, by its id."""

    def options(*, scheduling_strategy: Any) -> Any:
        return SimpleNamespace(remote=lambda path, run_id: look(scheduling_strategy.node_id))

    alive = {"aa" * 28: True, "bb" * 28: True, "cc" * 28: False}
    found = [
        {"NodeID": name, "Alive": lives, "NodeManagerAddress": f"node-{name[:2]}"} for name, lives in alive.items()
    ]
    monkeypatch.setattr(runtime.ray, "nodes", lambda: found)
    monkeypatch.setattr(runtime.ray, "remote", lambda **_: lambda function: SimpleNamespace(options=options))


async def test_all_nodes_that_live_look_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    both = asyncio.Barrier(2)

    async def look(node: str) -> None:
        async with asyncio.timeout(HANG_S):
            await both.wait()

    nodes(monkeypatch, look)
    await runtime.probe_run_dir(DIRECTORY)


async def test_a_node_that_does_not_look_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look(node: str) -> None:
        if node.startswith("bb"):
            await asyncio.sleep(HANG_S)

    monkeypatch.setattr(runtime, "PROBE_S", 0.05)
    nodes(monkeypatch, look)
    with pytest.raises(InfrastructureError, match=r"node-bb did not look at /runs/a in 0\.05 s"):
        await runtime.probe_run_dir(DIRECTORY)
