"""A sleeping vLLM engine: what is called in which order, and what it refuses. vLLM is a fake that records calls."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.tiny import engine_config
from tracelift_ray.engines.kinds import ENGINES
from tracelift_ray.engines.vllm_engine import VllmEngine
from tracelift_ray.errors import ComponentDead, TransferBroken
from tracelift_ray.transfer.manifest import WeightManifest

MANIFEST = WeightManifest(1, "shared_memory", (), "", 1, True, 30.0)


class FakeLlm:
    """Records control calls; ``failing`` names one that raises; ``taken`` is what a worker answers to weights."""

    errored = False

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.failing = ""
        self.taken = ("sum", "")
        self.engine_core = self

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            given = [*args, *kwargs.values()]
            self.calls.append((name, *given) if name in ("sleep", "wake_up") else name)
            if name == self.failing:
                raise RuntimeError("CUDA out of memory")
            return [self.taken] if name == "collective_rpc" else None

        return call

    def shutdown(self) -> None:
        self.calls.append("shutdown")


@pytest.fixture
def llm() -> FakeLlm:
    return FakeLlm()


def engine_over(llm: FakeLlm, transfer: str | None) -> VllmEngine:
    engine = VllmEngine(engine_config("vllm"), "model", transfer=transfer, seed=0, sleeps=True)
    engine._llm = llm  # type: ignore[assignment]
    engine._failure = asyncio.get_running_loop().create_future()
    return engine


async def test_a_planner_gets_room_for_weights_then_weights_then_its_cache(llm: FakeLlm) -> None:
    engine = engine_over(llm, "shared_memory")
    await engine.sleep()
    await engine.receive_weights(MANIFEST)
    await engine.wake()
    assert llm.calls == [
        ("sleep", 2, "keep"),
        ("wake_up", ["weights"]),
        "pause_scheduler_async",
        "collective_rpc",
        "finish_weight_update",
        ("wake_up", ["kv_cache"]),
    ]
    await engine.wake()
    assert len(llm.calls) == 6, "it was awake"
    await engine.receive_weights(MANIFEST)
    assert llm.calls[-1] == "resume_generation"


async def test_a_frozen_model_keeps_its_weights_and_takes_all_back_at_once(llm: FakeLlm) -> None:
    engine = engine_over(llm, None)
    await engine.sleep()
    await engine.wake()
    assert llm.calls == [("sleep", 1, "keep"), ("wake_up", None)]


async def test_a_planner_without_new_weights_does_not_wake(llm: FakeLlm) -> None:
    engine = engine_over(llm, "shared_memory")
    await engine.sleep()
    with pytest.raises(ComponentDead, match="none were sent to it since it went to sleep"):
        await engine.wake()


async def test_weights_that_are_sent_again_find_the_room_that_they_had(llm: FakeLlm) -> None:
    engine = engine_over(llm, "shared_memory")
    await engine.sleep()
    llm.taken = ("", "the channel broke")
    with pytest.raises(TransferBroken):
        await engine.receive_weights(MANIFEST)
    with pytest.raises(ComponentDead, match="no weights"):
        await engine.wake()
    llm.taken = ("sum", "")
    await engine.receive_weights(MANIFEST)
    assert [call for call in llm.calls if call[0] == "wake_up"] == [("wake_up", ["weights"])]
    await engine.wake()


@pytest.mark.parametrize("call", ["sleep", "wake_up"])
async def test_an_engine_that_fails_on_the_way_serves_nothing_more(llm: FakeLlm, call: str) -> None:
    engine = engine_over(llm, None)
    llm.failing = call
    with pytest.raises(ComponentDead, match="it could not sleep or wake: RuntimeError: CUDA out of memory"):
        await engine.sleep()
        await engine.wake()
    assert llm.calls[-1] == "shutdown"
    with pytest.raises(ComponentDead):
        await engine.health()


def test_kinds_say_whether_they_sleep() -> None:
    assert [name for name, kind in ENGINES.items() if kind.sleeps] == ["vllm"]
