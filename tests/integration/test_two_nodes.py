"""Runs over two nodes that share neither memory nor temporary folders, and the loss of one of them."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hang import HANG_S
from tests.integration.training_runs import LIGHT, ROOT, SMALL, command, records
from tests.integration.two_nodes import Node, can_be_apart, two_nodes
from tests.processes import marked

POOLS = (LIGHT, "planner.pool.workers=2", "executor.pool.workers=2", "verifier.pool.workers=2", "reward=exec_only")


Cluster = tuple[Node, Node, str, dict[str, str]]

pytestmark = pytest.mark.skipif(not can_be_apart(), reason="mount namespaces take root or user namespaces")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes; the last test ends one of them."""
    with two_nodes(cpus=(4, 3)) as nodes:
        yield nodes


def on(address: str, run_dir: str | Path) -> list[str]:
    """The overrides of a long run on this cluster."""
    overrides = [*SMALL, *POOLS, f"run_dir={run_dir}", "cluster=ray", f"cluster.address={address}"]
    return [*overrides, "evaluation.at_start=false", "evaluation.problems=0", "total_steps=1000"]


def test_a_run_directory_that_a_node_does_not_see_is_one_line(cluster: Cluster) -> None:
    """Each node has a ``/dev/shm`` that the other does not see."""
    head, _, address, environment = cluster
    run = head.inside(command("train", *on(address, "/dev/shm/run")))
    done = subprocess.run(run, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: run_dir: /dev/shm/run on ")
    assert line.endswith(" is not the driver's directory; put run_dir on a file system that all nodes share")


def test_a_run_is_spread_over_two_nodes_and_outlives_the_loss_of_one(cluster: Cluster, tmp_path: Path) -> None:
    run_dir, log = tmp_path / "run", tmp_path / "log"
    head, other, address, environment = cluster
    run = subprocess.Popen(
        head.inside(command("train", *on(address, run_dir), "stream.weight_transfer=collective")),
        cwd=ROOT,
        env=environment,
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
    )
    try:
        _wait_until(run, log, lambda: _steps(run_dir) >= 3)
        for node in (head, other):
            here = " ".join(marked(node.marker).values())
            assert all(name in here for name in ("PlannerActor", "GeneratorActor", "VerifierActor"))
        other.kill()
        _wait_until(run, log, lambda: "is lost, and with it planner[1], executor[1], verifier[1]" in log.read_text())
        after = _steps(run_dir) + 3
        _wait_until(run, log, lambda: _steps(run_dir) >= after)
        run.send_signal(signal.SIGINT)
        assert run.wait(HANG_S) == 130, log.read_text()
    finally:
        run.kill()
    steps = records(run_dir, "training")
    assert [record["step"] for record in steps] == list(range(1, len(steps) + 1))
    assert max(record["weights/engines"] for record in steps if "weights/engines" in record) == 2
    assert max(record.get("learner/mismatch_max", 0.0) for record in steps) < 1e-3
    assert (steps[0]["faults/nodes"], steps[-1]["faults/nodes"]) == (0, 1)


def _steps(run_dir: Path) -> int:
    """Steps that are on record."""
    return len(records(run_dir, "training")) if (run_dir / "metrics.jsonl").exists() else 0


def _wait_until(run: subprocess.Popen[bytes], log: Path, holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + HANG_S
    while not holds():
        assert run.poll() is None and time.monotonic() < ends, log.read_text()
        time.sleep(0.2)
