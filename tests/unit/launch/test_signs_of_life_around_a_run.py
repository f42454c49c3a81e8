"""What is done around a run is not silent: submitting it, building its data, reporting it, sizing a cluster for it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.job_submission import JobStatus

from actors import jobs
from launch import capacity, report, submit
from tests.commands import run_command
from tests.unit.dataset.cases import write_problems
from tests.unit.dataset.configs import build_config
from tests.unit.launch.watching import Seen, Watched
from tests.unit.tracking.test_report import make_run
from tracelift_ray.dataset import build
from tracelift_ray.dataset.pipeline import drafts
from tracelift_ray.simulation import splits
from tracelift_ray.simulation.workload import Split
from tracelift_ray.tracking import report as run_report


@pytest.mark.parametrize(
    ("slow", "sign"),
    [
        ("job_server", "reaching http://127.0.0.1:8265, 0:00:0"),
        ("submit_job", "packing and sending the code to http://127.0.0.1:8265, 0:00:0"),
        ("tail_job_logs", "following job raysubmit_1, 0:00:0"),
    ],
)
def test_a_submission(slow: str, sign: str, watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = watched.work_until(sign)

    async def output(job: str) -> Any:
        work()
        yield ""

    submitted = work if slow == "submit_job" else lambda **job: "raysubmit_1"
    server = SimpleNamespace(submit_job=submitted, tail_job_logs=output)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "job_server", work if slow == "job_server" else lambda address: server)
    monkeypatch.setattr(submit, "print", lambda text, flush: watched.say(text), raising=False)
    with pytest.raises(Seen):
        run_command(submit.main, "experiment=quickstart")


@pytest.mark.parametrize("ended", [False, True], ids=["while it is set up", "after its output broke off"])
def test_a_job_that_says_nothing(
    ended: bool, watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = watched.work_until("following job raysubmit_1, 0:00:0")

    async def output(job: str) -> Any:
        yield "Runtime env is setting up.\n"
        if not ended:
            work()

    async def wait(_: float) -> None:
        await asyncio.to_thread(work)

    running = SimpleNamespace(status=JobStatus.RUNNING)
    server = SimpleNamespace(
        submit_job=lambda **job: "raysubmit_1", tail_job_logs=output, get_job_info=lambda job: running
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "job_server", lambda address: server)
    monkeypatch.setattr(jobs.asyncio, "sleep", wait)
    monkeypatch.setattr(submit, "print", lambda text, **_: watched.say(text), raising=False)
    with pytest.raises(Seen):
        run_command(submit.main, "experiment=quickstart")


@pytest.mark.parametrize(
    ("module", "name", "sign"),
    [
        (build, "load_problems", "reading "),
        (build, "_stages", "starting what the stages need, 0:00:0"),
        (drafts, "_draft", "making groups: 0 of 20, ETA ?"),
        (build, "outcome_of", "cleaning the groups, 0:00:0"),
        (build, "_write", "writing "),
    ],
)
async def test_building_groups(
    module: Any, name: str, sign: str, watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = build_config(f"source={write_problems(tmp_path / 'in.jsonl', 20)}", f"out={tmp_path}/out")
    monkeypatch.setattr(module, name, watched.work_until(sign))
    with pytest.raises(Seen):
        await build.build(config, watched.say)


@pytest.mark.parametrize(
    ("name", "sign"), [("load_history", "reading runs, 0:00:0"), ("draw_run", "drawing "), ("page", "writing ")]
)
def test_a_report(name: str, sign: str, watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_report, name, watched.work_until(sign))
    monkeypatch.setattr(report, "print", lambda text, flush: watched.say(text), raising=False)
    with pytest.raises(Seen):
        report.main([str(make_run(tmp_path / "run", "tracelift", 0, 0.7))])


@pytest.mark.parametrize(
    ("module", "name", "sign"),
    [
        (splits, "forecast", "simulating splits: 0 of 1, ETA ?"),
        (splits, "_moved", "moving GPUs of the fastest split, 0:00:0"),
        (capacity, "bounds", "finding what bounds the fastest, 0:00:0"),
    ],
)
def test_a_search_for_the_fastest_split(
    module: Any, name: str, sign: str, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, watched.work_until(sign))
    monkeypatch.setattr(capacity, "print", lambda text, flush: watched.say(text), raising=False)
    if name == "_moved":
        monkeypatch.setattr(splits, "splits", lambda gpus: iter([Split(4, 4, 4, 4)]))
    gpus = "gpus=16" if name == "_moved" else "gpus=4"
    with pytest.raises(Seen):
        run_command(capacity.main, gpus, "groups_per_step=2", "group_size=2", "steps=2")
