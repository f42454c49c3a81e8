"""The loop over fakes: versions, broadcasts, silence, interrupts, checkpoints and resume."""

from __future__ import annotations

import asyncio
import errno
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.configs import run_config
from tests.hang import HANG_S
from tests.unit.rl.fakes import FakeLearner, FakeReceivers, FakeRollout, problems
from tracelift_ray.data.sampler import ProblemSampler
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.rl.canary import Canary
from tracelift_ray.rl.colocation import SharedGpus
from tracelift_ray.rl.loop import Interrupted, TrainingLoop
from tracelift_ray.rl.rollout import GroupFailed
from tracelift_ray.rl.scheduler import Scheduler, StreamError
from tracelift_ray.rl.tickets import Ticket
from tracelift_ray.tracking.jsonl import JsonlWriter
from tracelift_ray.tracking.run_dir import RunDirectory
from tracelift_ray.tracking.tracker import Tracker
from tracelift_ray.training.checkpoint import complete, newest_complete
from tracelift_ray.transfer.manifest import Sent, WeightManifest
from tracelift_ray.types import Group, Prompt, TrainBatch

BASE = run_config("reward=exec_only", "reasoning_rm.model=''", "tracking.wandb=disabled", "tracking.console=false")
PROBLEMS = problems(40)


class Run:
    """A loop over fakes in ``path``, and what it left."""

    def __init__(
        self,
        path: Path,
        *,
        steps: int = 4,
        rollout: FakeRollout | None = None,
        resume: bool = False,
        min_std: float = 1e-6,
        shared: SharedGpus | None = None,
        canary: Canary | None = None,
        ready_share: float = 0.0,
    ) -> None:
        self.config = replace(
            BASE,
            total_steps=steps,
            run_dir=str(path),
            algorithm=replace(BASE.algorithm, groups_per_step=2, group_size=2, min_std=min_std),
            evaluation=replace(BASE.evaluation, every=2),
            learner=replace(BASE.learner, save_every=2, keep_checkpoints=2, ready_share=ready_share),
        )
        self.directory = RunDirectory.create(path)
        self.rollout = rollout or FakeRollout()
        self.learner, self.engines = FakeLearner(), FakeReceivers()
        self.evaluations = 0
        found = newest_complete(self.directory.checkpoints_path) if resume else None
        self.tracker = Tracker(
            self.config.tracking, self.directory, steps, {"name": "t"}, found.step if found else None
        )
        scheduler = Scheduler(self.rollout, ProblemSampler(PROBLEMS, 0), self.config.stream, self.config.algorithm)
        self.loop = TrainingLoop(
            self.config,
            self.learner,
            self.engines,
            scheduler,
            self.evaluate,
            Counter({"executor": 3}),
            self.tracker,
            self.directory.checkpoints_path,
            shared=shared,
            canary=canary,
        )
        if found is not None:
            self.learner.version = found.state()["version"]
            self.loop.restore(found.state(), PROBLEMS)

    async def evaluate(self) -> dict[str, float]:
        self.evaluations += 1
        return {"evaluation/math/accuracy": 0.5}

    async def train(self) -> None:
        try:
            await asyncio.wait_for(self.loop.train(), HANG_S)
        finally:
            self.tracker.close()

    def metrics(self) -> list[dict[str, float]]:
        lines = self.directory.metrics_path.read_text().splitlines()
        return [record for record in map(json.loads, lines) if record["kind"] == "training"]


async def test_an_engine_that_computes_otherwise_stops_the_run_which_is_saved(tmp_path: Path) -> None:
    run = Run(tmp_path, canary=Canary(Prompt((1, 2), ""), 1.0, bound=0.2))
    run.engines.wrong_from = 2
    with pytest.raises(InfrastructureError, match=r"engine 0\.0 .* version 2 .* -0\.750000 there and -0\.500000"):
        await run.train()
    assert [r.get("weights/canary") for r in run.metrics()] == [0.0, None]
    assert newest_complete(run.directory.checkpoints_path).step == 2


async def test_a_planner_is_saved_with_what_describes_it_and_its_last_evaluation(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.loop.saving.describe = lambda step: {"README.md": f"step {step}, evaluated {run.loop.evaluated}"}
    await run.train()
    newest = newest_complete(run.directory.checkpoints_path)
    step, metrics = newest.step, {"evaluation/math/accuracy": 0.5}
    assert (newest.planner_dir / "README.md").read_text() == f"step {step}, evaluated {(step, metrics)}"


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


async def test_evaluations_come_before_every_n_steps_and_once_at_the_end(tmp_path: Path) -> None:
    run = Run(tmp_path, steps=5)
    await run.train()
    assert run.evaluations == 4  # steps 0, 2, 4 and 5
    even = Run(tmp_path / "even", steps=4)
    await even.train()
    assert even.evaluations == 3


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


async def test_an_engine_with_other_weights_ends_the_run(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.engines.checksum = lambda engine, version: "stale" if version == 2 else f"sum-{version}"
    with pytest.raises(InfrastructureError, match=r"serves version 2 \(stale\)"):
        await run.train()
    assert len(run.metrics()) == 2
    assert saved_step(run) == 2 and newest_state(run)["version"] == 2  # the learner has the step that it trained


def saved_step(run: Run) -> int | None:
    saved = newest_complete(run.directory.checkpoints_path)
    return None if saved is None else saved.step


def newest_state(run: Run) -> dict[str, Any]:
    saved = newest_complete(run.directory.checkpoints_path)
    assert saved is not None
    return saved.state()


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
