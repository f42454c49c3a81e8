"""When the loop evaluates, beside what, and what an evaluation that ends early leaves to do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.configs import run_config
from tests.hang import HANG_S
from tests.unit.rl.fakes import FakeLearner
from tests.unit.rl.loop_runs import Run, saved_step
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.rl.colocation import SharedGpus
from tracelift_ray.rl.loop import Interrupted
from tracelift_ray.types import TrainBatch

BASE = run_config("reward=exec_only", "reasoning_rm.model=''", "tracking.wandb=disabled", "tracking.console=false")


async def test_evaluations_come_before_every_n_steps_and_once_at_the_end(tmp_path: Path) -> None:
    run = Run(tmp_path, steps=5)
    await run.train()
    assert run.evaluations == 4  # steps 0, 2, 4 and 5
    even = Run(tmp_path / "even", steps=4)
    await even.train()
    assert even.evaluations == 3


async def test_an_evaluation_runs_beside_the_update_and_ends_before_the_broadcast(tmp_path: Path) -> None:
    run = Run(tmp_path, steps=2)
    updating, order = asyncio.Event(), list[str]()

    async def update(batch: TrainBatch) -> dict[str, float]:
        updating.set()
        result = await FakeLearner.update(run.learner, batch)
        order.append("updated")
        return result

    async def evaluate() -> dict[str, float]:
        if run.loop.progress.step < 2:  # the one at the end has no update beside it
            await updating.wait()
            while "updated" not in order:
                await asyncio.sleep(0)
            order.append(f"evaluated {run.engines.versions[-1]}")
        return await run.evaluate()

    run.learner.update = update  # type: ignore[method-assign]
    run.loop.evaluate = evaluate
    await run.train()
    assert order == ["updated", "evaluated 0", "updated"]
    assert run.tracker.has_evaluation(0) and run.tracker.has_evaluation(2)


async def test_an_evaluation_comes_before_an_update_for_which_engines_sleep(tmp_path: Path) -> None:
    asleep: list[bool] = [True]

    class Engines:
        async def sleep(self) -> None:
            asleep.append(True)

        async def wake(self) -> None:
            asleep.append(False)

    run = Run(tmp_path, steps=1, shared=SharedGpus([Engines()]))
    found = []

    async def evaluate() -> dict[str, float]:
        await asyncio.sleep(0.01)
        found.append(asleep[-1])
        return await run.evaluate()

    run.loop.evaluate = evaluate
    await run.train()
    assert found == [False, False]


async def test_an_update_that_fails_ends_the_evaluation_beside_it(tmp_path: Path) -> None:
    run = Run(tmp_path, steps=2)
    ended = []

    async def update(batch: TrainBatch) -> dict[str, float]:
        await asyncio.sleep(0)
        raise InfrastructureError("learner", "the loss is nan")

    async def evaluate() -> dict[str, float]:
        try:
            await asyncio.sleep(HANG_S)
        finally:
            ended.append(True)
        return {}

    run.learner.update = update  # type: ignore[method-assign]
    run.loop.evaluate = evaluate
    with pytest.raises(InfrastructureError, match="the loss is nan"):
        await run.train()
    assert ended == [True] and not run.tracker.has_evaluation(0)


async def test_an_interrupt_beside_an_update_that_is_over_waits_for_the_evaluation(tmp_path: Path) -> None:
    run = Run(tmp_path, steps=4)

    async def evaluate() -> dict[str, float]:
        while run.learner.version == 0:
            await asyncio.sleep(0)
        run.loop.requests.stop()
        await asyncio.sleep(0.01)
        return await run.evaluate()

    run.loop.evaluate = evaluate
    with pytest.raises(Interrupted):
        await run.train()
    assert saved_step(run) == 1 and run.tracker.has_evaluation(0)


async def test_an_evaluation_that_an_interrupt_ended_is_made_on_resume(tmp_path: Path) -> None:
    run = Run(tmp_path, steps=4)

    async def interrupted() -> dict[str, float]:
        if run.loop.progress.step == 4:
            run.loop.requests.stop()
            await asyncio.sleep(HANG_S)
        return await run.evaluate()

    run.loop.evaluate = interrupted
    with pytest.raises(Interrupted):
        await run.train()
    assert saved_step(run) == 4 and not run.tracker.has_evaluation(4)
    resumed = Run(tmp_path, steps=4, resume=True)
    await resumed.train()
    assert resumed.evaluations == 1 and resumed.tracker.has_evaluation(4)
