"""An engine that sleeps leaves its GPU's memory to others, and serves the right weights when it wakes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import torch

from tests.gpu.devices import REHEARSAL, device, engine_settings, needs, sender_on
from tests.hang import HANG_S
from tests.serving import GREEDY, PROMPT, check_served, model_at, transferred
from tests.tiny import make_tiny_llama
from tracelift_ray.engines.kinds import build_engine


def taken() -> int:
    """Bytes of the first GPU that are taken, by any process."""
    if REHEARSAL:
        return 0
    free, total = torch.cuda.mem_get_info(device(0))
    return total - free


@needs(1)
async def test_a_planner_sleeps_takes_weights_in_its_sleep_and_wakes_with_them(tmp_path: Path) -> None:
    engine = build_engine(engine_settings(), make_tiny_llama(tmp_path / "0", tied=True), transfer="ipc", sleeps=True)
    await engine.start()
    sender, awake = sender_on(0, "ipc"), taken()
    await engine.generate(PROMPT, GREEDY)
    await engine.sleep()
    asleep = taken()
    assert REHEARSAL or asleep < awake / 2, "most of what it held is its cache"
    asked = asyncio.create_task(engine.generate(PROMPT, GREEDY))
    model = model_at(tmp_path / "1", 1, device(0))
    await transferred(engine, sender, model, 1)
    assert not asked.done() and (REHEARSAL or taken() < awake / 2), "its cache is not back yet"
    await engine.wake()
    await asyncio.wait_for(asked, HANG_S)
    assert REHEARSAL or taken() > 0.8 * awake
    await check_served(engine, model, 1)
    sender.close()
    await engine.close()


@needs(1)
async def test_a_frozen_engine_serves_after_its_sleep_what_it_served_before(tmp_path: Path) -> None:
    engine = build_engine(engine_settings(), make_tiny_llama(tmp_path, tied=True), sleeps=True)
    await engine.start()
    (before,) = await engine.generate(PROMPT, GREEDY)
    await engine.sleep()
    await engine.wake()
    (after,) = await engine.generate(PROMPT, GREEDY)
    assert after == before
    await engine.close()
