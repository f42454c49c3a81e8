"""Interrupts, checkpoints, exports and failures of the loop: what is saved, and how a run goes on from it."""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.configs import run_config
from tests.unit.rl.fakes import FakeLearner, FakeRollout
from tests.unit.rl.loop_runs import PROBLEMS, Run, newest_state, saved_step
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.rl.loop import Interrupted
from tracelift_ray.rl.rollout import GroupFailed
from tracelift_ray.rl.scheduler import StreamError
from tracelift_ray.rl.tickets import Ticket
from tracelift_ray.tracking.jsonl import JsonlWriter
from tracelift_ray.tracking.tracker import Tracker
from tracelift_ray.training.checkpoint import complete, newest_complete
from tracelift_ray.types import Group, TrainBatch

BASE = run_config("reward=exec_only", "reasoning_rm.model=''", "tracking.wandb=disabled", "tracking.console=false")


async def test_a_planner_is_saved_with_what_describes_it_and_its_last_evaluation(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.loop.saving.describe = lambda step: {"README.md": f"step {step}, evaluated {run.tracker.last_evaluation()}"}
    await run.train()
    newest = newest_complete(run.directory.checkpoints_path)
    step, metrics = newest.step, {"evaluation/math/accuracy": 0.5}
    assert (newest.planner_dir / "README.md").read_text() == f"step {step}, evaluated {(step, metrics)}"


async def test_an_interrupt_saves_the_planner_and_leaves_nothing_running(tmp_path: Path) -> None:
    rollout = FakeRollout(delay=lambda t: 10**9 if t.serial >= 6 else 1)
    run = Run(tmp_path, steps=100, rollout=rollout)
    training = asyncio.create_task(run.train())
    while len(run.learner.batches) < 3:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    run.loop.requests.stop()
    with pytest.raises(Interrupted):
        await training
    assert rollout.running == 0
    saved = newest_complete(run.directory.checkpoints_path)
    assert saved is not None and saved.step == 3
    assert len(saved.state()["stream"]["in_flight"]) == 2


async def test_an_interrupt_in_an_update_abandons_it_and_its_batch_is_made_again(tmp_path: Path) -> None:
    run = Run(tmp_path, steps=4)
    abandoned = asyncio.Event()

    async def update(batch: TrainBatch) -> dict[str, float] | None:
        if run.learner.version == 3:
            run.loop.requests.stop()
            await abandoned.wait()
            return None
        return await FakeLearner.update(run.learner, batch)

    async def abandon() -> None:
        abandoned.set()

    run.learner.update, run.learner.abandon_update = update, abandon  # type: ignore[method-assign, assignment]
    with pytest.raises(Interrupted):
        await run.train()
    assert saved_step(run) == 3 and run.learner.version == 3
    resumed = Run(tmp_path, steps=4, resume=True)
    await resumed.train()
    assert [t.serial for t in resumed.rollout.started] == [6, 7, 8, 9]
    assert resumed.learner.version == 4


async def test_a_save_that_is_asked_for_is_made_beside_the_rollouts_and_the_run_goes_on(tmp_path: Path) -> None:
    slow = asyncio.Event()

    class Rollout(FakeRollout):
        async def run(self, ticket: Ticket) -> Group:
            if ticket.serial >= 2:
                await slow.wait()
            return await super().run(ticket)

    run = Run(tmp_path, steps=3, rollout=Rollout())
    training = asyncio.create_task(run.train())
    while len(run.learner.batches) < 1 or not run.loop.scheduler.gathered():
        await asyncio.sleep(0)
    run.loop.requests.save()
    while saved_step(run) != 1:
        await asyncio.sleep(0)
    assert not training.done()
    slow.set()
    await training
    assert saved_step(run) == 3


async def test_the_last_update_is_kept_ready_and_a_stop_has_no_more_to_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(Tracker, "message", lambda self, text: lines.append(text))
    run = Run(tmp_path, steps=100, rollout=FakeRollout(delay=lambda t: 10**9 if t.serial >= 6 else 1), ready_share=0.99)
    run.loop.saving.may_keep_ready = lambda: True  # type: ignore[method-assign]
    training = asyncio.create_task(run.train())
    while saved_step(run) != 3:
        await asyncio.sleep(0)
    assert [each.step for each in complete(run.directory.checkpoints_path)] == [2, 3]
    saved = len(run.learner.saved)
    run.loop.requests.stop()
    with pytest.raises(Interrupted):
        await training
    assert len(run.learner.saved) == saved == 3
    assert lines[-1] == f"saved {run.directory.checkpoints_path / 'step-000003'}"


async def test_keeping_ready_takes_its_share_of_the_time_and_no_more(tmp_path: Path) -> None:
    run = Run(tmp_path, steps=20, ready_share=0.5)

    async def save(planner_dir: str, state_dir: str | None) -> None:
        run.learner.saved.append(planner_dir)
        if len(run.learner.saved) == 1:
            await asyncio.sleep(0.2)  # what a checkpoint takes, as far as is known

    run.loop.saving.config = replace(run.loop.saving.config, ready_share=1e-6)
    run.learner.save = save  # type: ignore[method-assign]
    await run.train()
    assert len(run.learner.saved) == 1 + 10, "one to know what it takes, then those of save_every"


async def test_a_resumed_run_goes_on_as_the_unbroken_one(tmp_path: Path) -> None:
    whole = Run(tmp_path / "whole", steps=6)
    await whole.train()

    first = Run(tmp_path / "broken", steps=4)
    await first.train()
    second = Run(tmp_path / "broken", steps=6, resume=True)
    await second.train()

    def asked(*runs: Run) -> list[str]:
        return [t.problem.id for run in runs for t in run.rollout.started]

    assert second.learner.version == 6 and second.evaluations == 1
    assert [r["step"] for r in second.metrics()] == [1, 2, 3, 4, 5, 6]
    assert sorted(set(asked(first, second))) == sorted(set(asked(whole)))
    assert [r["groups/trained"] for r in second.metrics()] == [r["groups/trained"] for r in whole.metrics()]


async def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    run = Run(tmp_path, steps=8)
    await run.train()
    assert sorted(p.name for p in run.directory.checkpoints_path.iterdir()) == ["step-000006", "step-000008"]


async def test_the_checkpoint_with_the_best_evaluation_stays_beside_the_newest(tmp_path: Path) -> None:
    run = Run(tmp_path, steps=8)
    settings = replace(run.config.learner, keep_checkpoints=1, keep_best="evaluation/math/accuracy")
    run.loop.saving.config = settings
    values = iter((0.1, 0.5, 0.9, 0.4, 0.6))  # steps 0, 2, 4, 6, 8

    async def evaluate() -> dict[str, float]:
        return {"evaluation/math/accuracy": next(values)}

    run.loop.evaluate = evaluate
    await run.train()
    assert sorted(p.name for p in run.directory.checkpoints_path.iterdir()) == ["step-000004", "step-000008"]


async def test_exports_have_an_interval_and_a_retention_besides_checkpoints(tmp_path: Path) -> None:
    run = Run(tmp_path, steps=6)
    run.loop.run = replace(
        run.config,
        learner=replace(run.config.learner, save_every=3, keep_checkpoints=9, export_every=1, keep_exports=2),
    )
    run.loop.saving.config = run.loop.run.learner
    await run.train()
    assert sorted(p.name for p in run.directory.checkpoints_path.iterdir()) == ["step-000003", "step-000006"]
    exports = sorted(run.loop.saving.exports.iterdir())
    assert [p.name for p in exports] == ["step-000005", "step-000006"]
    assert not (exports[0] / "learner").exists()


class _Failing(FakeRollout):
    """Ends every group from the seventh on with an error."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def run(self, ticket: Ticket) -> Group:
        if ticket.serial >= 6:
            raise self.error
        return await super().run(ticket)


@pytest.mark.parametrize(
    ("error", "reported"),
    [
        (GroupFailed(Ticket(0, 0, PROBLEMS[0], 0), Counter({"executor": 2})), StreamError),
        (InfrastructureError("reasoning RM", "out of memory"), InfrastructureError),
        (ValueError("a task's check failed"), ValueError),
    ],
    ids=["stream", "component", "task"],
)
async def test_a_failure_beside_the_learner_saves_it_and_is_what_is_reported(
    tmp_path: Path, error: Exception, reported: type[Exception]
) -> None:
    run = Run(tmp_path, steps=100, rollout=_Failing(error))
    with pytest.raises(reported) as raised:
        await run.train()
    assert raised.value is error or isinstance(raised.value, StreamError)
    assert run.rollout.running == 0
    assert saved_step(run) == 3
    assert newest_state(run)["version"] == 3
    resumed = Run(tmp_path, steps=5, resume=True)
    await resumed.train()
    assert [r["step"] for r in resumed.metrics()] == [1, 2, 3, 4, 5]


async def test_a_failed_evaluation_saves_the_learner(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.loop.run = replace(run.loop.run, learner=replace(run.loop.run.learner, save_every=0))

    async def broken() -> dict[str, float]:
        if run.evaluations:
            raise InfrastructureError("verifier", "gone")
        return await run.evaluate()

    run.loop.evaluate = broken
    with pytest.raises(InfrastructureError, match="verifier: gone"):
        await run.train()
    assert saved_step(run) == 3 and newest_state(run)["version"] == 3  # it ran beside the update, which is whole


async def test_a_learner_that_failed_in_an_update_is_not_saved(tmp_path: Path) -> None:
    run = Run(tmp_path)

    async def update(batch: TrainBatch) -> dict[str, float]:
        if run.learner.version == 3:
            raise InfrastructureError("learner", "the loss is nan")
        return await FakeLearner.update(run.learner, batch)

    run.learner.update = update  # type: ignore[method-assign]
    with pytest.raises(InfrastructureError, match="the loss is nan"):
        await run.train()
    assert saved_step(run) == 2 and len(run.learner.saved) == 1


async def test_a_disk_that_fills_under_a_trajectory_is_one_line_and_the_learner_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, steps=100)
    write = JsonlWriter.write

    def full(self: JsonlWriter, record: dict[str, Any]) -> None:
        if "kind" not in record and record["step"] == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, record)

    monkeypatch.setattr(JsonlWriter, "write", full)
    with pytest.raises(InfrastructureError, match=r"^tracking: cannot write .*trajectories.jsonl: the disk is full \("):
        await run.train()
    assert saved_step(run) == 3


async def test_a_save_that_fails_does_not_hide_what_ended_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(Tracker, "message", lambda self, text: lines.append(text))
    run = Run(tmp_path, steps=100, rollout=_Failing(ValueError("the first")))

    async def save(planner_dir: str, state_dir: str | None) -> None:
        if run.learner.version == 3:
            raise InfrastructureError("learner", "a rank died")

    run.learner.save = save  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="the first"):
        await run.train()
    assert saved_step(run) == 2
    assert lines[-2:] == [
        "the run failed after step 3 (the first); saving the planner",
        "the planner could not be saved: learner: a rank died",
    ]


async def test_a_save_that_ended_the_run_is_not_tried_again(tmp_path: Path) -> None:
    run = Run(tmp_path)
    tries = []

    async def save(planner_dir: str, state_dir: str | None) -> None:
        tries.append(planner_dir)
        raise InfrastructureError("checkpoint", "the disk is full")

    run.learner.save = save  # type: ignore[method-assign]
    with pytest.raises(InfrastructureError, match="the disk is full"):
        await run.train()
    assert len(tries) == 1


async def test_every_checkpoint_of_a_loop_is_reported_but_none_that_is_only_kept_ready(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", steps=5, ready_share=1.0)
    reported: list[str] = []
    run.loop.saving.observe = lambda saved: reported.append(saved.name)
    await run.train()
    assert reported == ["step-000002", "step-000004", "step-000005"]
