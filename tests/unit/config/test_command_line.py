"""What a user sees on the command line: one line for every mistake, at once, and no heavy import before it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from launch.composition import CONFIG_DIR
from tests.hang import HANG_S

COMMAND = """
import sys
from launch.entry import entry_point
from tracelift_ray.planning.run_config import to_run_config
from tracelift_ray.types import DataError, InfrastructureError

@entry_point("config")
def main(cfg):
    config = to_run_config(cfg)
    print(config.name, config.run_dir, config.seed, config.reward.arm)
    if config.seed == 7:
        raise DataError("problems.jsonl:3: no reference answer; add one or use data.on_error=skip")
    if config.seed == 8:
        raise InfrastructureError("executor", "died")
    if config.seed == 9:
        raise RuntimeError("a defect")
    if config.seed == 10:
        raise KeyboardInterrupt
    return 1 if config.dry_run else None

try:
    main()
finally:
    heavy = sorted({"torch", "ray", "transformers", "vllm", "deepspeed", "wandb"} & set(sys.modules))
    print("HEAVY", *heavy)
"""


def run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(CONFIG_DIR.parent)}
    environment.pop("HYDRA_FULL_ERROR", None)
    (tmp_path / "command.py").write_text(COMMAND)
    return subprocess.run(
        [sys.executable, "command.py", *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )


def _cpu_seconds() -> float:
    """CPU time of ended child processes; unlike the clock it says the same on a busy machine."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["learner.zero_stag=1"], "error: learner.zero_stag: no such key; did you mean zero_stage?"),
        (["seed.x=1"], "error: seed.x: no such key; what is before the last dot holds a single value"),
        (["+learner.extra=1"], "error: learner.extra: no such key"),
        (["experiment=nope"], "error: experiment=nope: no such choice; there are: gsm8k_smollm2_cpu, mbpp_smollm2_cpu"),
        (["reward=tracelit"], "error: reward=tracelit: no such choice; did you mean tracelift?"),
        (["a==b=="], "error: cannot read the override 'a==b=='"),
        (["planner.model=a,b"], "error: Ambiguous value for argument 'planner.model=a,b'"),
        ([], "error: planner.model: is needed and has no default"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, base: tuple[str, ...], arguments: list[str], line: str
) -> None:
    before = _cpu_seconds()
    done = run(tmp_path, *(base if arguments else ()), *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1
    assert done.stdout == "HEAVY\n"
    assert _cpu_seconds() - before < 3


@pytest.mark.parametrize(
    ("seed", "code", "stderr"),
    [
        (7, 2, "error: problems.jsonl:3: no reference answer; add one or use data.on_error=skip\n"),
        (8, 1, "error: executor: died\n"),
        (10, 130, "interrupted\n"),
    ],
)
def test_an_expected_failure_of_the_run_is_one_line(
    tmp_path: Path, base: tuple[str, ...], seed: int, code: int, stderr: str
) -> None:
    done = run(tmp_path, *base, f"seed={seed}")
    assert (done.returncode, done.stderr) == (code, stderr)


def test_a_defect_keeps_its_traceback(tmp_path: Path, base: tuple[str, ...]) -> None:
    done = run(tmp_path, *base, "seed=9")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("RuntimeError: a defect\n")


def test_the_exit_code_is_the_jobs_own_and_nothing_is_written(tmp_path: Path, base: tuple[str, ...]) -> None:
    assert run(tmp_path, *base).returncode == 0
    assert run(tmp_path, *base, "dry_run=true").returncode == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["command.py", "models"]


def test_a_multirun_gives_every_job_a_directory_of_its_own(tmp_path: Path, base: tuple[str, ...]) -> None:
    done = run(tmp_path, "-m", *base, "name=sweep", "reward=tracelift,exec_only", "seed=1,2")
    jobs = [line.split() for line in done.stdout.splitlines() if line.startswith("sweep")]
    assert done.returncode == 0
    assert [(job[2], job[3]) for job in jobs] == [
        ("1", "tracelift"),
        ("2", "tracelift"),
        ("1", "exec_only"),
        ("2", "exec_only"),
    ]
    assert len({job[0] for job in jobs}) == len({job[1] for job in jobs}) == 4
    assert all(job[1] == f"{tmp_path}/runs/{job[0]}" for job in jobs)


def test_a_multirun_goes_on_after_a_wrong_job_and_returns_the_worst_code(tmp_path: Path, base: tuple[str, ...]) -> None:
    done = run(tmp_path, "-m", *base, "learner.zero_stage=0,7,3")
    assert done.returncode == 2
    assert done.stderr == "error: learner.zero_stage=7: must be 0, 1, 2 or 3\n"
    assert sum(line.startswith("train") for line in done.stdout.splitlines()) == 2


def test_help_and_the_composed_configuration_can_be_read_without_models(tmp_path: Path) -> None:
    shown = run(tmp_path, "--help")
    assert shown.returncode == 0
    assert "reward: exec_only, paper_code, paper_math, rm_only, tracelift, uplift_only" in shown.stdout
    composed = run(tmp_path, "--cfg", "job", "reward=rm_only")
    assert composed.returncode == 0
    assert "arm: rm_only" in composed.stdout
