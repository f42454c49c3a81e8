"""The Slurm script, run with stand-ins for Slurm's commands, Ray and Python: what it asks of them, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.hang import HANG_S

SCRIPT = Path(__file__).resolve().parents[3] / "launch" / "specs" / "slurm.sh"
STAND_INS = {
    "scontrol": 'echo "scontrol $*" >> calls; [ "$1" != show ] || printf "n1\\nn2\\n"',
    "srun": 'echo "srun $*" >> calls; echo "$RAY_ADDRESS" > address; trap "echo ended >> calls; exit" TERM; '
    "while :; do sleep 0.05; done",
    "ray": 'echo "ray $*" >> calls',
    "python": '[ "$1" != -c ] || { echo "asked for $3" >> calls; [ "$(grep -c asked calls)" -ge 2 ]; exit; }; '
    'echo "python $*" >> calls; trap "echo saved >> calls; exit 130" TERM; '
    'trap "echo early >> calls" USR1; '
    'while [ "$CODE" = run ]; do sleep 0.05; done; exit "$CODE"',
    "sleep": 'exec /bin/sleep "$(case $1 in 2) echo 0.01 ;; *) echo "$1" ;; esac)"',
}


def start(folder: Path, code: str, **variables: str) -> subprocess.Popen[bytes]:
    tools = folder / ".venv" / "bin"
    tools.mkdir(parents=True)
    for name, text in STAND_INS.items():
        (tools / name).write_text(f"#!/bin/bash\n{text}\n")
        (tools / name).chmod(0o755)
    job = {"SLURM_JOB_ID": "12345", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_NNODES": "2", "SLURM_CPUS_PER_TASK": "32"}
    environment = {"PATH": os.environ["PATH"], "CODE": code, **job, **variables}
    return subprocess.Popen(["/bin/bash", str(SCRIPT), "name=a b"], cwd=folder, env=environment)


def calls(folder: Path) -> list[str]:
    path = folder / "calls"
    return path.read_text().splitlines() if path.exists() else []


def test_the_script_asks_slurm_for_machines_a_signal_and_another_start() -> None:
    text = SCRIPT.read_text()
    assert "#SBATCH --signal=B:TERM@120\n" in text and "#SBATCH --requeue\n" in text and "ray stop" not in text
    assert "#SBATCH --nodes=1\n" in text and "#SBATCH --gpus-per-task=8\n" in text
    assert "#   sbatch --nodes=2 launch/specs/slurm.sh experiment=gpu_2x8 " in text


@pytest.mark.parametrize("machines", ["1", "2"])
def test_ray_starts_once_on_each_machine_and_the_run_when_all_are_there(tmp_path: Path, machines: str) -> None:
    assert start(tmp_path, "0", SLURM_NNODES=machines).wait(HANG_S) == 0
    made = calls(tmp_path)
    (nodes,) = (call for call in made if call.startswith("srun"))
    assert f" --nodes={machines} --ntasks={machines} --ntasks-per-node=1 " in f" {nodes}"
    assert f"asked for {machines}" in made[: made.index("python -m launch.train cluster=ray name=a b")]


@pytest.mark.parametrize(
    ("code", "restarts", "again"), [("0", "0", False), ("2", "0", False), ("1", "0", True), ("1", "3", False)]
)
def test_a_run_that_failed_is_started_again_a_few_times(tmp_path: Path, code: str, restarts: str, again: bool) -> None:
    assert start(tmp_path, code, SLURM_RESTART_COUNT=restarts).wait(HANG_S) == int(code)
    made = calls(tmp_path)
    (nodes,) = (call for call in made if call.startswith("srun"))
    assert "--cpus-per-task=32 " in nodes and "--nodes=2 " in nodes
    assert made.count("asked for 2") == 2 and made.count("ended") == 1, (
        "it waits for Ray's word, and ends what it started"
    )
    resumed = " resume=auto" if restarts != "0" else ""
    assert f"python -m launch.train cluster=ray name=a b{resumed}" in made
    assert ("scontrol requeue 12345" in made) is again


@pytest.mark.parametrize(("left_s", "again"), [(100, True), (9_000, False)])
def test_before_the_time_limit_the_planner_is_saved_and_the_job_queued_again(
    tmp_path: Path, left_s: int, again: bool
) -> None:
    job = start(tmp_path, "run", SLURM_JOB_END_TIME=str(int(time.time()) + left_s))
    ends = time.monotonic() + HANG_S
    while not any(call.startswith("python -m") for call in calls(tmp_path)) and time.monotonic() < ends:
        time.sleep(0.05)
    time.sleep(0.2)
    job.send_signal(signal.SIGUSR1)
    while "early" not in calls(tmp_path) and time.monotonic() < ends:
        time.sleep(0.05)
    job.send_signal(signal.SIGTERM)
    assert job.wait(HANG_S) == 130
    assert "saved" in calls(tmp_path) and ("scontrol requeue 12345" in calls(tmp_path)) is again


def test_jobs_on_one_node_have_ports_of_their_own(tmp_path: Path) -> None:
    ports = []
    for job in ("7000001", "7000002"):
        (tmp_path / job).mkdir()
        start(tmp_path / job, "0", SLURM_JOB_ID=job).wait(HANG_S)
        ports.append(int((tmp_path / job / "address").read_text().partition(":")[2]))
    assert abs(ports[0] - ports[1]) >= 6 and all(20_000 <= port < 32_768 - 20 for port in ports)
