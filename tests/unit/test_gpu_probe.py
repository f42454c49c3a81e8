"""Asking nodes which GPUs were reserved there never waits without end."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from actors import placement
from tracelift_ray.errors import InfrastructureError


async def _slow_second(group: Any, bundle: int, gpus: float) -> list[str]:
    await asyncio.sleep(3600 if bundle else 0)
    return [str(gpu) for gpu in range(int(gpus))]


async def test_a_node_that_does_not_say_its_gpus_in_time_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "_devices", _slow_second)
    bundles = {"10.0.0.1 (a1)": {"GPU": 2.0}, "10.0.0.2 (b2)": {"GPU": 1.0}}
    said = re.escape("10.0.0.2 (b2) did not say in 0.05 s (cluster.placement_timeout_s) which GPUs")
    with pytest.raises(InfrastructureError, match=f"^cluster: {said}"):
        await placement._all_devices(None, bundles, 0.05)  # type: ignore[arg-type]
    answered = {"10.0.0.1 (a1)": {"GPU": 2.0}}
    assert await placement._all_devices(None, answered, 5.0) == [["0", "1"]]  # type: ignore[arg-type]
