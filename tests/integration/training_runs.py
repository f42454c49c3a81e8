"""Small runs of the training command, and what they leave behind, for tests of whole runs."""

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

from tests.hang import HANG_S
from tests.processes import marked

ROOT = Path(__file__).resolve().parents[2]
SMALL = (
    "experiment=quickstart",
    "planner.engine.kind=vllm",
    "learner.cpus_per_worker=1",
    "tracking.wandb=disabled",
    "algorithm.groups_per_step=4",
    "algorithm.group_size=4",
    "evaluation.problems=4",
    "data.limit=200",
)
#: Where vLLM is not the subject: an engine in the actor's own process is up much sooner.
LIGHT = "planner.engine.kind=transformers"


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
        return marked(self.marker)

    def processes_named(self, name: str) -> list[int]:
        return [pid for pid, line in self.processes().items() if name in line]


def outlives_an_engine(run_dir: Path, engine: str, *overrides: str, mismatch: float = 1e-3) -> None:
    """Assert that a run whose planner has several engines goes on where one of them dies before a broadcast.

    Args:
        engine: the process of one, by name.
        mismatch: bound of what a log-prob of the engine may differ from the learner's.
    """
    with Started(run_dir, "total_steps=8", "evaluation.problems=0", *overrides) as run:
        run.wait_for_steps(2)
        engines, learners = run.processes_named(engine), run.processes_named("LearnerActor")
        os.kill(learners[0], signal.SIGSTOP)  # held in its update, so that its next transfer is to all
        time.sleep(5)
        os.kill(engines[0], signal.SIGKILL)
        os.kill(learners[0], signal.SIGCONT)
        output, _ = run.process.communicate(timeout=HANG_S)
        assert run.process.returncode == 0, output
    steps = records(run_dir, "training")
    assert [record["step"] for record in steps] == list(range(1, 9))
    assert min(record["weights/engines"] for record in steps if "weights/engines" in record) >= 1
    # A trace of other weights than the learner's would show here.
    assert max(record.get("learner/mismatch_max", 0.0) for record in steps) < mismatch
