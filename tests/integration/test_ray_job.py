"""A submitted training run: a head with token authentication, a copied working directory, a secret, absolute paths."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.hang import HANG_S
from tracelift_ray.training.ranks import free_port

ROOT = Path(__file__).resolve().parents[2]
RAY = str(Path(sys.executable).with_name("ray"))


@pytest.fixture
def head(tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The job server's address of a head of the test's own, and the environment of its clients."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # as in an activated environment: jobs say `python`
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "PATH": path}
    environment |= {"RAY_DASHBOARD_STARTUP_TIMEOUT_S": str(int(HANG_S)), "PYTHONUNBUFFERED": "1"}
    for last in [False] * 3 + [True]:
        dashboard, log = free_port(), tmp_path / "head.log"
        process = _start(dashboard, environment, log)
        try:
            if not _is_up(process, log) and not last:
                continue
            assert process.poll() is None, log.read_text()
            yield f"http://127.0.0.1:{dashboard}", environment
            return
        finally:
            _end(process)


def _start(dashboard: int, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """A head whose ports are its own."""
    address = (
        "--node-ip-address=127.0.0.1",
        f"--port={free_port()}",
        f"--dashboard-port={dashboard}",
        f"--dashboard-agent-listen-port={free_port()}",
        f"--dashboard-agent-grpc-port={free_port()}",
    )
    sizes = ("--num-cpus=8", f"--object-store-memory={100 * 2**20}")
    return subprocess.Popen(
        [RAY, "start", "--head", "--block", "--disable-usage-stats", *address, *sizes],
        env=environment,
        cwd=log.parent,
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _is_up(process: subprocess.Popen[bytes], log: Path) -> bool:
    """Whether the head comes up. Ray gives a node half a minute for that, which a busy machine may not keep."""
    ends = time.monotonic() + HANG_S
    while process.poll() is None and time.monotonic() < ends:
        if "Ray runtime started" in log.read_text():
            return True
        time.sleep(0.2)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a head and its processes."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(HANG_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def test_a_job_trains_on_a_running_cluster_and_refuses_clients_without_the_token(
    head: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    server, environment = head
    run_dir, secret = tmp_path / "run", secrets.token_hex(16)
    environment = environment | {"TRACELIFT_A_SECRET": secret}
    overrides = (
        "experiment=quickstart",
        "planner.engine.kind=transformers",
        "cluster=ray",
        "total_steps=1",
        "tracking.wandb=disabled",
        "algorithm.groups_per_step=4",
        "algorithm.group_size=4",
        "evaluation.problems=0",
        "data.limit=100",
        "name=${oc.env:TRACELIFT_A_SECRET}",
        f"run_dir={os.path.relpath(run_dir, ROOT)}",
    )
    submit = [sys.executable, "-m", "launch", "submit", f"address={server}", "secrets=[TRACELIFT_A_SECRET]"]
    ends = time.monotonic() + HANG_S
    while True:
        done = subprocess.run(
            [*submit, *overrides], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=HANG_S
        )
        starting = any(words in done.stderr for words in ("nothing answers", "No available agent"))
        if not starting or time.monotonic() > ends:
            break
        time.sleep(1)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    kinds = [json.loads(line)["kind"] for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert kinds.count("training") == 1
    assert (run_dir / "checkpoints" / "step-000001" / "planner" / "model.safetensors").is_file()
    assert "1/1  reward" in done.stdout and done.stdout.rstrip().endswith(": succeeded")

    listed = [RAY, "job", "list", "--address", server]
    shown = subprocess.run(listed, env=environment, capture_output=True, text=True, timeout=HANG_S)
    assert "TRACELIFT_SEALED" in shown.stdout and secret not in shown.stdout
    assert yaml.safe_load((run_dir / "config.yaml").read_text())["name"] == secret, "the job could open it"
    stranger = environment | {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
    refused = subprocess.run(listed, env=stranger, capture_output=True, text=True, timeout=HANG_S)
    assert refused.returncode != 0
