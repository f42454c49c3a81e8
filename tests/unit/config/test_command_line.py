"""What a user sees on the command line: one line for every mistake, at once, and no heavy import before it."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from omegaconf import DictConfig

from launch.conf_files import CONFIG_DIR
from launch.entry import entry_point
from tests.commands import Done, run_command
from tests.modes import modes_count
from tracelift_ray.errors import DataError, InfrastructureError
from tracelift_ray.planning.run_config import to_run_config

HEAVY = ("torch", "ray", "transformers", "vllm", "deepspeed", "wandb")


Command = Callable[..., Done]
#: What the system says of a path, and of none, by seed.
REFUSED = {
    12: PermissionError(errno.EACCES, "Permission denied", "/root/x"),
    13: OSError(errno.ENAMETOOLONG, "File name too long", "n" * 300),
    14: FileNotFoundError(errno.ENOENT, "No such file or directory", "/none/x"),
    15: OSError(errno.EMFILE, "Too many open files"),
}


def job(cfg: DictConfig) -> int | None:
    config = to_run_config(cfg)
    print(config.name, config.run_dir, config.seed, config.reward.arm)
    if config.seed == 7:
        raise DataError("problems.jsonl:3: no reference answer; add one or use data.on_error=skip")
    if config.seed == 8:
        raise InfrastructureError("executor", "died")
    if config.seed == 9:
        raise RuntimeError("a defect")
    if config.seed in REFUSED:
        raise REFUSED[config.seed]
    if config.seed == 11:
        logging.getLogger("tracelift_ray.pools").warning("planner[0] is lost")
        logging.getLogger("a library").info("gcc test.c")
        with contextlib.redirect_stderr(sys.stdout):  # as by the screen of a run
            logging.getLogger("tracelift_ray.pools").warning("planner[1] is lost")
    if config.seed == 10:
        raise KeyboardInterrupt
    return 1 if config.dry_run else None


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command with that job in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    return partial(run_command, entry_point("config")(job))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["learner.zero_stag=1"], "error: learner.zero_stag: no such key; did you mean zero_stage?"),
        (["learner.layout=paked"], "error: learner.layout=paked: must be padded or packed; did you mean packed?"),
        (["seed.x=1"], "error: seed.x: no such key; what is before the last dot holds a single value"),
        (["reward.options.x=1"], "error: reward.options.x: no such key; what is before the last dot holds a single"),
        (["+learner.extra=1"], "error: learner.extra: no such key"),
        (["experiment=nope"], "error: experiment=nope: no such choice; there are: arithmetic_smollm2_cpu, gpu_1x8, "),
        (["reward=tracelit"], "error: reward=tracelit: no such choice; did you mean tracelift?"),
        (["a==b=="], "error: cannot read the override 'a==b=='"),
        (["--dry-run"], "error: --dry-run: no such flag; write dry_run=true, without dashes\n"),
        (["--total_step=3"], "error: --total_step=3: no such flag; write total_steps=3, without dashes\n"),
        (["--reward", "exec_only"], "error: --reward: no such flag; write reward=…, without dashes\n"),
        (["--xyzzy"], "error: --xyzzy: no such flag; write KEY=VALUE, without dashes (--help lists both)\n"),
        (["--cfg"], "error: --cfg/-c: expected one argument\n"),
        (["-m", "seed=1"], "error: seed=1: comes after a flag; write flags before all KEY=VALUE\n"),
        (["planner.model=a,b"], "error: Ambiguous value for argument 'planner.model=a,b'"),
        (
            ["experiment=quickstart", "planner=vllm", "planner.model=???"],
            "error: planner.model: is needed and has no default; give planner.model=… (planner=… on the command line "
            "replaces what the experiment sets there)",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    run: Command, base: tuple[str, ...], arguments: list[str], line: str
) -> None:
    done = run(*base, *arguments)
    assert done.code == 2
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_mistake_is_found_at_once_and_without_a_heavy_import(tmp_path: Path) -> None:
    code = (
        "import sys, launch.train\ntry:\n launch.train.main()\nfinally:\n"
        f" print('HEAVY', *sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    used = _cpu_seconds()
    done = subprocess.run(
        [sys.executable, "-c", code, "experiment=quickstart", "algorithm.group_size=1"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(CONFIG_DIR.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "HEAVY\n")
    assert done.stderr.startswith("error: algorithm.group_size=1: must be 2 or more")
    assert _cpu_seconds() - used < 3


def _cpu_seconds() -> float:
    """CPU time of ended child processes; unlike the clock it says the same on a busy machine."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
    ("seed", "code", "stderr"),
    [
        (7, 2, "error: problems.jsonl:3: no reference answer; add one or use data.on_error=skip\n"),
        (8, 1, "error: executor: died\n"),
        (10, 130, "interrupted\n"),
    ],
)
def test_an_expected_failure_of_the_run_is_one_line(
    run: Command, base: tuple[str, ...], seed: int, code: int, stderr: str
) -> None:
    done = run(*base, f"seed={seed}")
    assert (done.code, done.stderr) == (code, stderr)


@pytest.mark.parametrize(
    ("seed", "line"),
    [
        (12, "error: /root/x: Permission denied; give a path that this user may use (--traceback shows where)\n"),
        (13, f"error: {'n' * 117}...: File name too long; give a shorter one (--traceback shows where)\n"),
        (14, "error: /none/x: No such file or directory; check the path (--traceback shows where)\n"),
    ],
)
def test_a_path_that_the_system_refuses_is_one_line(run: Command, base: tuple[str, ...], seed: int, line: str) -> None:
    done = run(*base, f"seed={seed}")
    assert (done.code, done.stderr) == (2, line)
    full = run(*base, f"seed={seed}", "--traceback")
    assert full.stderr.startswith("Traceback") and full.stderr.endswith(line)


def test_an_error_of_the_system_about_no_path_keeps_its_traceback(run: Command, base: tuple[str, ...]) -> None:
    with pytest.raises(OSError, match="Too many open files"):
        run(*base, "seed=15")


def test_a_path_of_which_nothing_can_be_seen_is_one_line(run: Command, base: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir(mode=0)
    for key in ("run_dir", "planner.model", "planner.prompt", "data.train", "resume"):
        for path in (f"{tmp_path}/hidden/x", f"{tmp_path}/{'n' * 300}"):
            with modes_count():
                done = run(*base, f"{key}=[{path}]" if key == "data.train" else f"{key}={path}")
            assert (done.code, done.stderr.count("\n")) == (2, 1), done.stderr


def test_a_warning_carries_its_time_and_level_and_libraries_are_quiet(run: Command, base: tuple[str, ...]) -> None:
    done = run(*base, "seed=11")
    assert re.fullmatch(r"\d\d:\d\d:\d\d WARNING planner\[0\] is lost\n", done.stderr)
    assert "HYDRA" not in done.stdout and "gcc" not in done.stdout
    assert done.stdout.endswith(" WARNING planner[1] is lost\n")


def test_a_defect_keeps_its_traceback(run: Command, base: tuple[str, ...]) -> None:
    with pytest.raises(RuntimeError, match="a defect"):
        run(*base, "seed=9")


def test_the_exit_code_is_the_jobs_own_and_nothing_is_written(
    run: Command, base: tuple[str, ...], tmp_path: Path
) -> None:
    assert run(*base).code == 0
    assert run(*base, "dry_run=true").code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models"]


def test_a_multirun_gives_every_job_a_directory_of_its_own(run: Command, base: tuple[str, ...], tmp_path: Path) -> None:
    done = run("-m", "experiment=quickstart", *base, "name=sweep", "reward=tracelift,exec_only", "seed=1,2")
    jobs = [line.split() for line in done.stdout.splitlines() if line.startswith("sweep")]
    assert done.code == 0
    assert [(job[2], job[3]) for job in jobs] == [
        ("1", "tracelift"),
        ("2", "tracelift"),
        ("1", "exec_only"),
        ("2", "exec_only"),
    ]
    assert len({job[0] for job in jobs}) == len({job[1] for job in jobs}) == 4
    assert all(job[1] == f"{tmp_path}/runs/{job[0]}" for job in jobs)


def test_a_multirun_goes_on_after_a_wrong_job_and_returns_the_worst_code(run: Command, base: tuple[str, ...]) -> None:
    done = run("-m", *base, "learner.zero_stage=0,7,3")
    assert done.code == 2
    assert done.stderr == "error: learner.zero_stage=7: must be 0, 1, 2 or 3\n"
    assert sum(line.startswith("train") for line in done.stdout.splitlines()) == 2


def test_help_and_the_composed_configuration_can_be_read_without_models(run: Command) -> None:
    shown = run("--help")
    assert shown.code == 0
    assert "tracelift exec_only paper_code paper_math rm_only uplift_only\n" in shown.stdout
    composed = run("--cfg", "job", "experiment=quickstart", "reward=rm_only", "evaluation=off")
    assert composed.code == 0
    assert "arm: rm_only" in composed.stdout and "problems: 0" in composed.stdout
