"""The evaluation command on the real stack: published files, an interruption, a comparison, another executor."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from tests.configs import run_config
from tests.hang import HANG_S
from tracelift_ray.config.load import plain_config
from tracelift_ray.demo.source import demo_problems
from tracelift_ray.types import Problem

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINTS = ROOT / "tracelift_ray" / "demo" / "checkpoints"
PROBLEMS = 16


RUN = (
    "experiment=quickstart",
    "reward=exec_only",
    "planner.engine.kind=transformers",
    "evaluation.num_samples=2",
)


def command(*overrides: str) -> list[str]:
    return [sys.executable, "-m", "launch.evaluate", "pass_at=[1,2]", "resamples=200", *overrides]


def evaluate(*overrides: str) -> str:
    done = subprocess.run(command(*overrides), cwd=ROOT, capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


def gsm8k_file(path: Path, problems: tuple[Problem, ...]) -> Path:
    """Problems of the demo world in the form in which GSM8K is published."""
    lines = [json.dumps({"question": p.statement, "answer": f"It follows.\n#### {p.answer}"}) for p in problems]
    path.write_text("\n".join(lines) + "\n")
    return path


def checkpoint_of_a_run(run_dir: Path, planner: Path) -> Path:
    """A checkpoint as a run of these settings leaves it."""
    checkpoint = run_dir / "checkpoints" / "step-000001"
    shutil.copytree(planner, checkpoint / "planner")
    (run_dir / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(plain_config(run_config(*RUN[1:])))))
    return checkpoint


def results(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "results.json").read_text())
    return found


def test_benchmarks_survive_an_interruption_and_compare_planners_and_executors(tmp_path: Path) -> None:
    sums = gsm8k_file(tmp_path / "sums.jsonl", demo_problems("math", PROBLEMS, 0, "heldout"))
    files = f"benchmarks=[{sums}]"
    shared = (*RUN, files, f"runs_root={tmp_path}")
    first = tmp_path / "first"

    slowly = ("executor.engine.max_num_seqs=2", "planner.pool.max_concurrency=1")
    started = subprocess.Popen(
        command(f"checkpoint={CHECKPOINTS / 'planner'}", *shared, f"out={first}", *slowly),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + HANG_S
    while not (first / "records.jsonl").exists() or not (first / "records.jsonl").read_bytes():
        assert started.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    started.send_signal(signal.SIGINT)
    said, errors = started.communicate(timeout=HANG_S)
    kept = (first / "records.jsonl").read_bytes()
    assert started.returncode == 130, errors[-2000:]
    assert f"results are in {first}" in said and kept.count(b"\n") < PROBLEMS

    other = ("other_executor.model=" + str(CHECKPOINTS / "planner"), "other_executor.prompt=demo")
    table = evaluate(f"checkpoint={CHECKPOINTS / 'planner'}", *shared, f"out={first}", *other)
    assert (first / "records.jsonl").read_bytes().startswith(kept.rpartition(b"\n")[0])
    found = results(first)
    figures = found["benchmarks"]["sums"]
    assert (figures["problems"], figures["missing"], figures["attempts"]) == (PROBLEMS, 0, 2)
    assert figures["pass_at"]["2"]["mean"] >= figures["accuracy"]["mean"] > figures["baseline"]["mean"]
    assert found["other_executor"]["benchmarks"]["sums"]["problems"] == PROBLEMS
    assert "uplift, other executor" in table

    # The executor itself writes better traces than the untrained planner.
    checkpoint = checkpoint_of_a_run(tmp_path / "run", CHECKPOINTS / "executor")
    table = evaluate(f"checkpoint={checkpoint}", files, f"against={first}")
    compared = results(checkpoint / "evaluation")["against"]["benchmarks"]["sums"]
    assert compared["problems"] == PROBLEMS and compared["first"] > compared["second"]
    assert compared["test"]["difference"]["mean"] == pytest.approx(compared["first"] - compared["second"])
    assert "McNemar" in table
