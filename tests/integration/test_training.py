"""Whole runs on the real stack: Ray, vLLM, DeepSpeed, the tiny models of the demo world; nothing is replaced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.hang import HANG_S

ROOT = Path(__file__).resolve().parents[2]
SMALL = (
    "experiment=quickstart",
    "tracking.wandb=disabled",
    "algorithm.groups_per_step=4",
    "algorithm.group_size=4",
    "evaluation.problems=4",
    "data.limit=200",
)


def command(module: str, *overrides: str) -> list[str]:
    return [sys.executable, "-m", f"launch.{module}", *overrides]


def train(run_dir: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command("train", *SMALL, f"run_dir={run_dir}", *overrides),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def records(run_dir: Path, kind: str) -> list[dict[str, Any]]:
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three steps of the quickstart, math and code together."""
    run_dir = tmp_path_factory.mktemp("trained")
    train(run_dir, "total_steps=3", "learner.save_every=2")
    return run_dir


def test_a_run_trains_evaluates_and_saves(trained: Path) -> None:
    steps = records(trained, "training")
    assert [record["step"] for record in steps] == [1, 2, 3]
    assert steps[-1]["stream/version"] >= 2  # a step of so few groups may hold no signal
    assert all(record["stream/staleness_max"] == 0 for record in steps)
    assert all(record["weights/engines"] == 1 for record in steps if "weights/engines" in record)
    assert max(record.get("learner/mismatch_max", 0.0) for record in steps) < 1e-3
    assert [record["step"] for record in records(trained, "evaluation")] == [0, 3]
    for record in records(trained, "evaluation"):
        for task in ("math", "code"):
            assert 0 <= record[f"evaluation/{task}/trace_validity"] <= 1
            assert record[f"evaluation/{task}/rm_score"] > 0
    assert sorted(p.name for p in (trained / "checkpoints").iterdir()) == ["step-000002", "step-000003"]


def test_the_saved_planner_is_changed_and_loads_as_an_ordinary_model(trained: Path) -> None:
    saved = load_file(trained / "checkpoints/step-000003/planner/model.safetensors")
    start = load_file(ROOT / "tracelift_ray/demo/checkpoints/planner/model.safetensors")
    assert saved.keys() == start.keys()
    assert any(not saved[name].equal(start[name]) for name in start)


def test_every_trace_is_on_record_with_what_became_of_it(trained: Path) -> None:
    traces = [json.loads(line) for line in (trained / "trajectories.jsonl").read_text().splitlines()]
    assert len(traces) == 3 * 4 * 4
    assert {trace["task"] for trace in traces} == {"math", "code"}
    executed = [trace for trace in traces if trace["malformed"] is None]
    assert executed and all(trace["reward"] is not None and trace["rubric"] is not None for trace in executed)


def test_a_resumed_run_goes_on_where_it_stopped(trained: Path) -> None:
    train(trained, "total_steps=4")
    assert [record["step"] for record in records(trained, "training")] == [1, 2, 3, 4]
    account = records(trained, "training")[-1]
    ended = sum(account[f"groups/{end}"] for end in ("trained", "filtered", "dropped", "failed"))
    still_open = sum(account[f"groups/{state}"] for state in ("running", "ready", "training"))
    assert ended == 16 and account["groups/submitted"] == 16 + still_open
    assert account["groups/dropped"] == 0


def test_a_checkpoint_is_evaluated_on_its_own(trained: Path) -> None:
    checkpoint = trained / "checkpoints" / "step-000003"
    done = subprocess.run(
        command("evaluate", f"checkpoint={checkpoint}", "evaluation.num_samples=2", "seed=3"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "accuracy" in done.stdout and "trace_validity" in done.stdout
    results = json.loads((checkpoint / "evaluation" / "results.json").read_text())
    assert results["benchmarks"]["code"]["problems"] == 4 and results["benchmarks"]["math"]["attempts"] == 2


def test_asynchronous_training_over_two_zero_ranks_stays_within_its_bound(tmp_path: Path) -> None:
    train(
        tmp_path,
        "total_steps=5",
        "stream.max_staleness=2",
        "reward=exec_only",
        "learner.num_workers=2",
        "learner.zero_stage=3",
        "evaluation.at_start=false",
        "evaluation.problems=2",
    )
    steps = records(tmp_path, "training")
    assert 0 < max(record["stream/staleness_max"] for record in steps) <= 2


class Started:
    """A training command in a session of its own, whose processes carry a marker in their environment."""

    def __init__(self, run_dir: Path, *overrides: str) -> None:
        self.run_dir = run_dir
        self.marker = f"tracelift-test-{uuid.uuid4().hex}"
        self.process = subprocess.Popen(
            command("train", *SMALL, f"run_dir={run_dir}", "evaluation.at_start=false", *overrides),
            cwd=ROOT,
            env=os.environ | {"TRACELIFT_TEST_MARKER": self.marker},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wait_for_steps(self, count: int) -> None:
        ends = time.monotonic() + HANG_S
        while not (self.run_dir / "metrics.jsonl").exists() or len(records(self.run_dir, "training")) < count:
            assert self.process.poll() is None and time.monotonic() < ends, self.process.communicate(timeout=HANG_S)[0]
            time.sleep(0.2)

    def processes(self) -> dict[int, str]:
        """Command lines of the processes that carry the marker."""
        found = {}
        for environ in Path("/proc").glob("[0-9]*/environ"):
            try:
                if self.marker.encode() in environ.read_bytes():
                    name = (environ.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found[int(environ.parent.name)] = name
            except OSError:
                continue
        return found

    def processes_named(self, name: str) -> list[int]:
        return [pid for pid, line in self.processes().items() if name in line]


def test_an_interrupt_saves_the_planner_and_leaves_no_process(tmp_path: Path) -> None:
    with Started(tmp_path, "total_steps=1000") as run:
        run.wait_for_steps(1)
        os.killpg(run.process.pid, signal.SIGINT)  # as a terminal does: the whole foreground group
        output, _ = run.process.communicate(timeout=HANG_S)
        assert run.process.returncode == 130, output
        assert "Traceback" not in output, output
        ends = time.monotonic() + HANG_S
        while run.processes() and time.monotonic() < ends:
            time.sleep(0.2)
        assert run.processes() == {}
    steps = len(records(tmp_path, "training"))
    assert (tmp_path / "checkpoints" / f"step-{steps:06d}" / "planner" / "model.safetensors").is_file()


@pytest.mark.parametrize("idle", [False, True], ids=["at_any_moment", "before_a_broadcast"])
def test_a_planner_engine_that_is_killed_is_restarted_with_the_learners_weights(tmp_path: Path, idle: bool) -> None:
    with Started(tmp_path, "total_steps=8", "evaluation.problems=0") as run:
        run.wait_for_steps(2)
        (engine,), (learner,) = run.processes_named("EngineCore"), run.processes_named("LearnerActor")
        if idle:  # held in its update, which comes after all traces of a step and before the broadcast
            os.kill(learner, signal.SIGSTOP)
            time.sleep(5)
        os.kill(engine, signal.SIGKILL)
        os.kill(learner, signal.SIGCONT)
        output, _ = run.process.communicate(timeout=HANG_S)
        assert run.process.returncode == 0, output
    steps = records(tmp_path, "training")
    assert [record["step"] for record in steps] == list(range(1, 9))
    assert steps[-1]["stream/version"] > steps[1]["stream/version"]
    # A trace of other weights than the learner's would show here.
    assert max(record.get("learner/mismatch_max", 0.0) for record in steps) < 1e-3
