"""Saves as artifacts of the W&B run, read back from the files of offline runs; what fails or hangs holds up nothing."""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.hang import HANG_S
from tests.sinks import wandb_artifacts, wandb_rows
from tests.unit.tracking.test_wandb_sink import OFFLINE, start
from tracelift_ray.config.schema import WandbArtifacts
from tracelift_ray.tracking import wandb_artifacts as module
from tracelift_ray.tracking.run_dir import RunDirectory
from tracelift_ray.tracking.wandb_artifacts import ArtifactLog
from tracelift_ray.tracking.wandb_sink import WandbSink

PLANNER = {"model.safetensors": b"weights", "README.md": b"card"}


def save(run: RunDirectory, step: int) -> Path:
    """A checkpoint, with a planner and a learner."""
    saved = run.checkpoints_path / f"step-{step:06d}"
    (saved / "planner").mkdir(parents=True)
    for name, content in PLANNER.items():
        (saved / "planner" / name).write_bytes(content)
    (saved / "learner").mkdir()
    (saved / "learner" / "state.pt").write_bytes(b"moments")
    return saved


@pytest.mark.parametrize(
    ("what", "files"),
    [
        ("planner", PLANNER),
        ("checkpoint", {"learner/state.pt": b"moments"} | {f"planner/{name}": text for name, text in PLANNER.items()}),
    ],
)
def test_each_save_is_an_artifact_of_the_run_though_the_checkpoint_is_removed(
    tmp_path: Path, wandb_home: None, what: WandbArtifacts, files: dict[str, bytes]
) -> None:
    run, said = RunDirectory.create(tmp_path / "run"), list[str]()
    sink = start(run, said, resumed=False, config=replace(OFFLINE, wandb_artifacts=what))
    for step in (1, 2):
        sink.log(step, {"reward/mean": 0.5})
        sink.log_save(saved := save(run, step))
        shutil.rmtree(saved)
    sink.close()
    name = f"{what}-{sink.run_id}"
    assert wandb_artifacts(run.path) == [(name, {"latest", f"step-00000{step}"}, files) for step in (1, 2)]
    assert [row["step"] for row in wandb_rows(run.path)] == [1, 2] and len(said) == 1


def test_none_is_the_default_and_logs_no_artifact(tmp_path: Path, wandb_home: None) -> None:
    run = RunDirectory.create(tmp_path / "run")
    sink = start(run, [], resumed=False)
    sink.log_save(save(run, 1))
    sink.close()
    assert wandb_artifacts(run.path) == [] and not (run.path / "wandb" / "artifacts").exists()


def test_a_file_system_without_hard_links_has_artifacts_too(
    tmp_path: Path, wandb_home: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    run, said = RunDirectory.create(tmp_path / "run"), list[str]()
    sink = start(run, said, resumed=False, config=replace(OFFLINE, wandb_artifacts="planner"))
    sink.log_save(save(run, 1))
    sink.close()
    ((_, _, files),) = wandb_artifacts(run.path)
    assert files == PLANNER and len(said) == 1


def test_a_save_that_becomes_no_artifact_is_one_line_and_metrics_go_on(tmp_path: Path, wandb_home: None) -> None:
    run, said = RunDirectory.create(tmp_path / "run"), list[str]()
    sink = start(run, said, resumed=False, config=replace(OFFLINE, wandb_artifacts="planner"))
    sink.log_save(gone := run.checkpoints_path / "step-000001")
    sink.log(1, {"reward/mean": 0.25})
    sink.log_save(save(run, 2))
    sink.close()
    _, line = said
    assert line.startswith(f"W&B: {gone} became no artifact (its files are gone") and "\n" not in line
    assert [aliases for _, aliases, _ in wandb_artifacts(run.path)] == [{"latest", "step-000002"}]
    assert [row["step"] for row in wandb_rows(run.path)] == [1]


class Online:
    """A stand-in for an online W&B run: its uploads succeed, fail, or hang until the test lets them end."""

    id, offline = "id", False

    def __init__(self, error: Exception | None = None, until: threading.Event | None = None) -> None:
        self.error, self.until = error, until
        self.rows: list[int] = []
        self.sent: list[dict[str, bytes]] = []
        self.exit_code: int | None = None

    def log_artifact(self, artifact: Any, aliases: list[str]) -> Any:
        files = artifact.manifest.entries.items()
        self.sent.append({path: Path(entry.local_path).read_bytes() for path, entry in files})
        return self

    def wait(self, timeout: int) -> None:
        if self.until is not None:
            self.until.wait(HANG_S)
        if self.error is not None:
            raise self.error

    def log(self, row: dict[str, float], step: int, commit: bool) -> None:
        self.rows.append(step)

    def finish(self, exit_code: int) -> None:
        self.exit_code = exit_code


def sink_of(online: Online, run: RunDirectory, said: list[str]) -> WandbSink:
    links = ArtifactLog("planner", run.path / "links", said.append)
    return WandbSink(online, "id", -1, run.path / "state.json", said.append, links)


@pytest.mark.parametrize("error", [None, ValueError("the quota is used up")], ids=["taken", "refused"])
def test_online_nothing_is_left_beside_the_checkpoint(tmp_path: Path, error: Exception | None) -> None:
    run, online, said = RunDirectory.create(tmp_path / "run"), Online(error), list[str]()
    sink = sink_of(online, run, said)
    sink.log_save(saved := save(run, 1))
    sink.close()
    assert online.sent == [PLANNER] and online.exit_code == 0
    assert list((run.path / "links").iterdir()) == []
    assert {path.name: path.read_bytes() for path in (saved / "planner").iterdir()} == PLANNER
    failed = f"W&B: {saved} became no artifact (the quota is used up); the save itself is whole"
    assert said == ([] if error is None else [failed])


def test_an_upload_that_does_not_end_holds_up_neither_metrics_nor_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UPLOAD_S", 0.05)
    run, online, said = RunDirectory.create(tmp_path / "run"), Online(until=(until := threading.Event())), list[str]()
    sink = sink_of(online, run, said)
    for step in (1, 2, 3):
        sink.log_save(save(run, step))
        sink.log(step, {"reward/mean": 0.5})
    sink.close()
    assert online.rows == [1, 2, 3] and online.exit_code == 0
    until.set()
