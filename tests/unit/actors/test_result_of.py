"""A call that is given up after its Ray has ended starts no other."""

from __future__ import annotations

import asyncio
from unittest.mock import patch

import pytest

from actors import pool
from actors.processes import end_process


@pytest.mark.parametrize("up", [True, False])
async def test_a_call_is_cancelled_in_its_actor_while_ray_is_there_and_not_after(up: bool) -> None:
    cancelled: list[object] = []
    with patch.object(pool.ray, "is_initialized", lambda: up), patch.object(pool.ray, "cancel", cancelled.append):
        answer = asyncio.get_running_loop().create_future()
        call = asyncio.ensure_future(pool.result_of(answer))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert cancelled == ([answer] if up else [])


async def test_no_process_is_looked_for_without_ray() -> None:
    with patch.object(pool.ray, "remote", side_effect=AssertionError("Ray would start")):
        await end_process("node", 1, "Worker")
