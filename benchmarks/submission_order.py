"""Runs of the demo with ``stream.order=submission`` end with the same weights, to the byte::

    python -m benchmarks.submission_order [--steps 6] [--runs runs/submission_order]

1, 2 and 4 planner engines, undisturbed, and with processes of the planner or of the executor that are stopped and go on
again and again, as on a machine that others use; one run loses an engine, one its driver. Prints a table; exit code 1
where the weights differ.
"""

from __future__ import annotations

import argparse
import hashlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from launch.chaos import KINDS, ChaosConfig, Training, send
from tracelift_ray.training.checkpoint import newest_complete

#: With which an answer depends on its request alone, and the traces of two versions behind are trained on.
OVERRIDES = (
    *("experiment=quickstart", "stream=asynchronous", "stream.order=submission", "stream.max_staleness=2"),
    *("planner.engine.kind=vllm", "reasoning_rm.max_batch_tokens=1", "learner.save_every=1"),
    *("algorithm.groups_per_step=4", "algorithm.group_size=4", "evaluation=off"),
)
#: Seconds, at most, that a slowed process is stopped, and that it goes on.
STOPPED_S, RUNNING_S = 0.9, 0.5
PATIENCE_S = 1200.0


@dataclass(frozen=True)
class Case:
    """One run: planner engines, the kind of process that is slowed, and the kind that is killed once."""

    engines: int
    slowed: str = ""
    killed: str = ""

    def __str__(self) -> str:
        said = [f"{self.slowed} stopped again and again"] if self.slowed else []
        return ", ".join(said + ([f"{self.killed} killed"] if self.killed else [])) or "undisturbed"


CASES = (
    Case(1),
    Case(1, slowed="engine"),
    Case(2, slowed="executor"),
    Case(4),
    Case(4, slowed="engine"),
    Case(2, killed="engine"),
    Case(2, killed="driver"),
)


@contextmanager
def slowed(training: Training, kind: str) -> Iterator[None]:
    """Stop and continue the processes of a kind, in turns of random length."""
    over, random = threading.Event(), Random(kind)

    def pulse() -> None:
        while not over.is_set():
            struck = [pid for pid, line in training.processes() if KINDS[kind][0] in line]
            for number, most in ((signal.SIGSTOP, STOPPED_S), (signal.SIGCONT, RUNNING_S)):
                for pid in struck:
                    send(pid, number)
                time.sleep(random.uniform(0.1, most))

    if not kind:
        yield
        return
    pulsing = threading.Thread(target=pulse, daemon=True)
    pulsing.start()
    try:
        yield
    finally:
        over.set()
        pulsing.join(STOPPED_S + RUNNING_S + 5.0)


def run(case: Case, steps: int, run_dir: Path) -> tuple[str, int]:
    """The digest of a run's last weights, and how often its command was started."""
    overrides = (*OVERRIDES, f"planner.pool.workers={case.engines}")
    training = Training(ChaosConfig(0, 1, steps, str(run_dir), (), (), PATIENCE_S, overrides))
    try:
        with slowed(training, case.slowed):
            if case.killed and training.wait(lambda: len(training.records()) >= steps // 2, PATIENCE_S):
                pid = training.find(case.killed)
                if pid is not None:
                    send(pid, signal.SIGKILL)
            if not training.wait(training.ended, PATIENCE_S) and not training.ended():
                raise SystemExit(f"{run_dir}: not over in {PATIENCE_S:g} s; see {training.log}")
    finally:
        if training.driver.poll() is None:
            send(training.driver.pid, signal.SIGTERM)
        training.close()
    saved = newest_complete(run_dir / "checkpoints")
    if saved is None or saved.step != steps:
        raise SystemExit(f"{run_dir}: no checkpoint of step {steps}")
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted(saved.planner_dir.glob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest(), training.starts


def main() -> int:
    """Run every case and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--runs", type=Path, default=Path("runs/submission_order"), help="must not hold these runs yet")
    options = parser.parse_args()
    options.runs.mkdir(parents=True, exist_ok=True)
    digests = set()
    print("| engines | | starts | weights |\n|--:|---|--:|---|", flush=True)
    for number, case in enumerate(CASES):
        digest, starts = run(case, options.steps, (options.runs / f"run-{number}").absolute())
        digests.add(digest)
        print(f"| {case.engines} | {case} | {starts} | {digest} |", flush=True)
    return int(len(digests) > 1)


if __name__ == "__main__":
    sys.exit(main())
