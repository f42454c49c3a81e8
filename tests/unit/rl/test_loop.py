"""The loop over fakes: steps, versions, broadcasts, steps without an update."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.configs import run_config
from tests.unit.rl.fakes import FakeRollout
from tests.unit.rl.loop_runs import Run, newest_state, saved_step
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.rl.canary import Canary
from tracelift_ray.rl.colocation import SharedGpus
from tracelift_ray.rl.tickets import Ticket
from tracelift_ray.tracking.tracker import Tracker
from tracelift_ray.training.checkpoint import newest_complete
from tracelift_ray.transfer.manifest import Sent, WeightManifest
from tracelift_ray.types import Group, Prompt, TrainBatch

BASE = run_config("reward=exec_only", "reasoning_rm.model=''", "tracking.wandb=disabled", "tracking.console=false")


async def test_an_engine_that_computes_otherwise_stops_the_run_which_is_saved(tmp_path: Path) -> None:
    run = Run(tmp_path, canary=Canary(Prompt((1, 2), ""), 1.0, bound=0.2))
    run.engines.wrong_from = 2
    with pytest.raises(InfrastructureError, match=r"engine 0\.0 .* version 2 .* -0\.750000 there and -0\.500000"):
        await run.train()
    assert [r.get("weights/canary") for r in run.metrics()] == [0.0, None]
    assert newest_complete(run.directory.checkpoints_path).step == 2


async def test_every_step_trains_raises_the_version_and_broadcasts_it(tmp_path: Path) -> None:
    run = Run(tmp_path)
    await run.train()
    assert len(run.learner.batches) == 4
    assert run.engines.versions == [0, 1, 2, 3, 4]
    records = run.metrics()
    assert [r["stream/version"] for r in records] == [1, 2, 3, 4]
    assert [r["stream/staleness_max"] for r in records] == [0, 0, 0, 0]
    assert all(r["faults/executor"] == 3 for r in records)
    assert [t.submitted_version for t in run.rollout.started][:8] == [0, 0, 1, 1, 2, 2, 3, 3]


async def test_a_batch_without_signal_makes_no_step_no_version_and_no_broadcast(tmp_path: Path) -> None:
    run = Run(tmp_path, rollout=FakeRollout(lambda t: (1.0, 1.0) if t.serial < 4 else (0.0, 1.0)))
    await run.train()
    assert len(run.learner.batches) == 2 and run.engines.versions == [0, 1, 2]
    assert [r["stream/version"] for r in run.metrics()] == [0, 0, 1, 2]


async def test_every_report_agrees_on_which_groups_have_signal(tmp_path: Path) -> None:
    # Deviations of 0.05, below the bound, and 0.5, above it.
    run = Run(tmp_path, steps=3, rollout=FakeRollout(lambda t: (0.0, 0.1) if t.serial % 2 else (0.0, 1.0)), min_std=0.2)
    await run.train()
    records = run.metrics()
    assert [r["reward/signal"] for r in records] == [0.5] * 3
    assert [(r["stream/groups_trained"], r["stream/groups_zero_signal"]) for r in records] == [(1, 1)] * 3
    assert [r["groups/filtered"] for r in records] == [1, 2, 3]
    assert [len(batch.samples) for batch in run.learner.batches] == [2] * 3
    traces = [json.loads(line) for line in run.directory.trajectories_path.read_text().splitlines()]
    assert {bool(t["advantage"]) for t in traces if t["group"] % 2} == {False}
    assert {bool(t["advantage"]) for t in traces if t["group"] % 2 == 0} == {True}


class Turns(SharedGpus):
    """What happens on the GPUs, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []

    async def to_learner(self) -> None:
        self.order.append("sleep")

    async def to_pools(self) -> None:
        self.order.append("wake")


async def test_models_on_the_learners_gpus_sleep_while_it_updates_and_wake_with_the_new_weights(tmp_path: Path) -> None:
    turns = Turns()
    run = Run(tmp_path, steps=2, shared=turns, rollout=FakeRollout(lambda t: (1.0, 1.0) if t.serial < 2 else (0.0, 1)))
    update, send = run.learner.update, run.learner.send_weights

    async def updating(batch: TrainBatch) -> dict[str, float]:
        turns.order.append("update")
        return await update(batch)

    async def sending(manifest: WeightManifest) -> Sent:
        turns.order.append("send")
        return await send(manifest)

    run.learner.update, run.learner.send_weights = updating, sending  # type: ignore[method-assign]
    await run.train()
    # They are asleep when the loop starts; the first batch has no signal, so the learner does nothing with it.
    assert turns.order == ["send", "wake", "sleep", "update", "send", "wake"]


class _Cut(FakeRollout):
    """Groups with signal whose traces the length limit cut."""

    async def run(self, ticket: Ticket) -> Group:
        one = await super().run(ticket)
        cut = [
            replace(t.trace, completion=replace(t.trace.completion, finish_reason="length")) for t in one.trajectories
        ]
        return replace(
            one, trajectories=tuple(replace(t, trace=trace) for t, trace in zip(one.trajectories, cut, strict=True))
        )


async def test_a_step_without_an_update_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(Tracker, "message", lambda self, text: lines.append(text))
    equal = Run(tmp_path / "equal", steps=1, rollout=FakeRollout(lambda _: (1.0, 1.0)))
    await equal.train()
    assert any(line.startswith("step 1: the policy was not updated; no group had signal") for line in lines)
    lines.clear()
    cut = Run(tmp_path / "cut", steps=1, rollout=_Cut())
    cut.loop.run = replace(cut.loop.run, reward=replace(cut.loop.run.reward, overlong="mask"))
    await cut.train()
    assert not cut.learner.batches
    assert any("reward.overlong=mask leaves those out" in line for line in lines)


async def test_an_engine_with_other_weights_ends_the_run(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.engines.checksum = lambda engine, version: "stale" if version == 2 else f"sum-{version}"
    with pytest.raises(InfrastructureError, match=r"serves version 2 \(stale\)"):
        await run.train()
    assert len(run.metrics()) == 2
    assert saved_step(run) == 2 and newest_state(run)["version"] == 2  # the learner has the step that it trained
