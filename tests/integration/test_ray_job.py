"""A training run as jobs of a head with token authentication: stopped, and submitted again.

The working directory is copied, a secret travels, paths are absolute, and Ray shows the run's metrics while it lasts.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import yaml

from actors.sealed import SEALED
from tests.hang import HANG_S
from tests.integration.training_runs import records
from tests.processes import marked
from tracelift_ray.tracking.run_dir import code_version
from tracelift_ray.training.checkpoint import newest_complete
from tracelift_ray.training.ranks import free_port

ROOT = Path(__file__).resolve().parents[2]
RAY = str(Path(sys.executable).with_name("ray"))
RUN = (
    "experiment=quickstart",
    "planner.engine.kind=transformers",
    "cluster=ray",
    "algorithm.groups_per_step=4",
    "algorithm.group_size=4",
    "evaluation.problems=0",
    "data.limit=100",
    "name=${oc.env:TRACELIFT_A_SECRET}",
)
ACTORS = ("PlannerActor", "GeneratorActor", "VerifierActor", "ReasoningRmActor", "LearnerActor")


@dataclass(frozen=True)
class Head:
    """The job server's address, that of the node's metrics, and the environment of its clients."""

    server: str
    metrics: str
    environment: dict[str, str]

    def jobs(self) -> dict[str, Any]:
        """What the job server says of each job, by its id."""
        token = {"Authorization": f"Bearer {self.environment['RAY_AUTH_TOKEN']}"}
        with urlopen(Request(f"{self.server}/api/jobs/", headers=token), timeout=HANG_S) as answer:
            return {job["submission_id"]: job for job in json.load(answer)}

    def gauge(self, name: str, run: str) -> list[float]:
        """What Ray's Prometheus endpoint says now of a metric of a run, of all tasks together."""
        with urlopen(self.metrics, timeout=HANG_S) as answer:
            lines = answer.read().decode().splitlines()
        found = [line for line in lines if line.startswith(f"{name}{{") and f'run="{run}"' in line and 'of=""' in line]
        return [float(line.split()[-1]) for line in found]

    def ray(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command of ``ray job``."""
        return self._run([RAY, "job", arguments[0], "--address", self.server, *arguments[1:]], environment)

    def submit(self, run_dir: Path, *overrides: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A small run, once the head takes jobs."""
        done = self.try_to_submit(run_dir, *RUN, *overrides, **environment)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    def try_to_submit(
        self, run_dir: Path, *overrides: str, without: Sequence[str] = (), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """How ``launch submit`` ends, once the head takes jobs, with no variables of the clients named ``without``."""
        own = (f"address={self.server}", f"run_dir={os.path.relpath(run_dir, ROOT)}")
        ends = time.monotonic() + HANG_S
        while True:
            done = self._run([sys.executable, "-m", "launch", "submit", *own, *overrides], environment, without)
            starting = any(words in done.stderr for words in ("nothing answers", "No available agent"))
            if not starting or time.monotonic() > ends:
                return done
            time.sleep(1)

    def _run(
        self, command: list[str], environment: dict[str, str], without: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        variables = {name: value for name, value in self.environment.items() if name not in without} | environment
        return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=HANG_S)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """A head of the tests' own."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # as in an activated environment: jobs say `python`
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "PATH": path}
    environment |= {"RAY_DASHBOARD_STARTUP_TIMEOUT_S": str(int(HANG_S)), "PYTHONUNBUFFERED": "1"}
    environment |= {"RAY_metrics_report_interval_ms": "1000"}  # Ray's default is 10 s
    for last in [False] * 3 + [True]:
        dashboard, metrics, log = free_port(), free_port(), tmp_path_factory.mktemp("head") / "head.log"
        process = _start(dashboard, metrics, environment, log)
        try:
            if not _is_up(process, log) and not last:
                continue
            assert process.poll() is None, log.read_text()
            yield Head(f"http://127.0.0.1:{dashboard}", f"http://127.0.0.1:{metrics}/metrics", environment)
            return
        finally:
            _end(process)


def _start(dashboard: int, metrics: int, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """A head whose ports are its own."""
    address = (
        "--node-ip-address=127.0.0.1",
        f"--port={free_port()}",
        f"--dashboard-port={dashboard}",
        f"--dashboard-agent-listen-port={free_port()}",
        f"--dashboard-agent-grpc-port={free_port()}",
        f"--metrics-export-port={metrics}",
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


def job_id(output: str) -> str:
    """Of the one job that ``launch submit`` says it submitted."""
    (job,) = re.findall(r"^job (\w+) submitted", output, re.MULTILINE)
    return str(job)


@dataclass(frozen=True)
class StoppedJob:
    """A run whose job was stopped after its first step.

    Attributes:
        secret: what it was given to open, and the run's name; no other job has it.
        rewards: what Ray's Prometheus endpoint said of its mean reward while it ran.
        processes: those of the job before it was stopped, and a moment after.
    """

    run_dir: Path
    secret: str
    rewards: list[float]
    status: str
    processes: tuple[dict[int, str], dict[int, str]]

    @property
    def steps(self) -> int:
        return len(records(self.run_dir, "training"))


@pytest.fixture(scope="module")
def stopped(head: Head, tmp_path_factory: pytest.TempPathFactory) -> StoppedJob:
    run_dir, secret = tmp_path_factory.mktemp("stopped"), secrets.token_hex(16)
    done = head.submit(
        run_dir,
        "secrets=[TRACELIFT_A_SECRET]",
        *("follow=false", "total_steps=1000", "learner.save_every=1000", "tracking.wandb=disabled"),
        "tracking.prometheus=true",
        TRACELIFT_A_SECRET=secret,
    )
    job = job_id(done.stdout)
    sealed = head.jobs()[job]["runtime_env"]["env_vars"][SEALED]
    ends = time.monotonic() + HANG_S
    rewards: list[float] = []
    while not rewards:  # Ray shows them a moment after the first step
        assert head.jobs()[job]["status"] in ("PENDING", "RUNNING") and time.monotonic() < ends, head.ray("logs", job)
        time.sleep(0.5)
        rewards = head.gauge("ray_tracelift_reward_mean", secret)
    before = marked(sealed)
    done = head.ray("stop", job)
    assert done.returncode == 0, done.stdout + done.stderr
    while marked(sealed) and time.monotonic() < ends:
        time.sleep(0.5)
    return StoppedJob(run_dir, secret, rewards, head.jobs()[job]["status"], (before, marked(sealed)))


def test_a_job_that_is_stopped_saves_the_planner_and_leaves_no_process(stopped: StoppedJob) -> None:
    before, after = stopped.processes
    assert all(any(name in line for line in before.values()) for name in ("launch.train", *ACTORS)), before
    assert (stopped.status, after) == ("STOPPED", {})
    saved = newest_complete(stopped.run_dir / "checkpoints")
    assert saved is not None and saved.step == stopped.steps
    assert (saved.planner_dir / "model.safetensors").is_file() and (saved.planner_dir / "README.md").is_file()


def test_rays_prometheus_endpoint_shows_the_reward_of_a_run_that_goes_on(stopped: StoppedJob) -> None:
    recorded = [record["reward/mean"] for record in records(stopped.run_dir, "training")]
    (shown,) = stopped.rewards
    assert any(shown == pytest.approx(reward) for reward in recorded)


def test_the_same_job_again_goes_on_to_its_end_without_w_and_b_and_clients_without_the_token_are_refused(
    head: Head, stopped: StoppedJob
) -> None:
    """W&B's directory cannot be made, and its server refuses."""
    run_dir, step = stopped.run_dir, stopped.steps
    (run_dir / "wandb").write_text("in the way")
    commit = code_version().commit
    done = head.submit(
        run_dir,
        "secrets=[TRACELIFT_A_SECRET,WANDB_API_KEY,WANDB_BASE_URL]",
        *(f"total_steps={step + 1}", "tracking.wandb=online"),
        TRACELIFT_A_SECRET=stopped.secret,
        WANDB_API_KEY="0" * 40,
        WANDB_BASE_URL="http://127.0.0.1:9",
    )
    assert f"going on from {run_dir}/checkpoints/step-{step:06d}" in done.stdout
    assert head.jobs()[job_id(done.stdout)]["status"] == "SUCCEEDED"
    _, start = json.loads((run_dir / "run.json").read_text())["starts"]
    assert start["code"]["commit"] == commit, "the copy is no repository, so the job was told"
    assert [record["step"] for record in records(run_dir, "training")] == list(range(1, step + 2))
    assert (run_dir / "checkpoints" / f"step-{step + 1:06d}" / "planner" / "model.safetensors").is_file()
    assert f"{step + 1}/{step + 1}  reward" in done.stdout and done.stdout.rstrip().endswith(": succeeded")
    # "starting" is said again and again for as long as the server is tried, so once or often
    about = [line for line in done.stdout.splitlines() if "W&B" in line and "W&B: starting" not in line]
    assert len(about) == 1 and "W&B: did not start (" in about[0], about

    shown = head.ray("list")
    assert SEALED in shown.stdout and stopped.secret not in shown.stdout
    assert yaml.safe_load((run_dir / "config.yaml").read_text())["name"] == stopped.secret, "the job could open it"
    assert head.ray("list", RAY_AUTH_TOKEN=secrets.token_hex(32)).returncode != 0


@pytest.mark.parametrize(
    "given",
    [{}, {"RAY_AUTH_MODE": "token"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}],
    ids=["nothing is set", "missing", "wrong"],
)
def test_submission_without_the_token_is_one_line(head: Head, tmp_path: Path, given: dict[str, str]) -> None:
    done = head.try_to_submit(
        tmp_path / "run", *RUN[:-1], without=("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"), HOME=str(tmp_path), **given
    )
    assert done.returncode == 1 and "submitted" not in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: job server: {head.server} refuses this client, its token is missing or wrong; set ")


def test_plain_submission_with_the_spec_works_too(head: Head, tmp_path: Path) -> None:
    """A job that prints the plan for the cluster that it is on, and one that trains a step."""
    spec = ("--runtime-env", "launch/specs/ray_job.yaml", "--working-dir", ".")
    run = ("python", "-m", "launch.train", *RUN[:-1], f"run_dir={tmp_path / 'run'}", "total_steps=1")
    done = head.ray("submit", *spec, "--", *run, "dry_run=true")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "The resources suffice" in done.stdout and "succeeded" in done.stdout
    assert not (tmp_path / "run").exists()

    done = head.ray("submit", *spec, "--", "env", f"TRACELIFT_COMMIT={'c' * 40}", *run)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert [record["step"] for record in records(tmp_path / "run", "training")] == [1]
    assert (tmp_path / "run" / "checkpoints" / "step-000001" / "planner" / "model.safetensors").is_file()
    (start,) = json.loads((tmp_path / "run" / "run.json").read_text())["starts"]
    assert start["code"]["commit"] == "c" * 40
