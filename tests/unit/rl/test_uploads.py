"""The upload command: real shells, beside the loop."""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from pathlib import Path

import psutil
import pytest

from tests.hang import HANG_S
from tests.learner_configs import learner
from tests.unit.rl.fakes import FakeLearner
from tracelift_ray.rl.saving import Saving
from tracelift_ray.rl.uploads import Uploads


def uploads(command: str, deadline_s: float = HANG_S) -> tuple[Uploads, Counter[str], list[str]]:
    faults: Counter[str] = Counter()
    lines: list[str] = []
    return Uploads(command, deadline_s, faults, lines.append), faults, lines


async def test_each_save_is_uploaded_once_and_in_order(tmp_path: Path) -> None:
    hook, faults, _ = uploads(f'echo "$TRACELIFT_SAVED" >> {tmp_path}/seen')
    for name in ("a", "b", "c"):
        hook.start(tmp_path / name)
    assert hook.in_use == {tmp_path / "a", tmp_path / "b", tmp_path / "c"}
    await asyncio.wait_for(hook.finish(), HANG_S)
    assert (tmp_path / "seen").read_text().split() == [str(tmp_path / name) for name in ("a", "b", "c")]
    assert not hook.in_use and not faults


async def test_the_commands_of_the_page_send_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "learner.md"
    commands = re.findall(r"^learner\.upload_command='(.*)'$", page.read_text("utf-8"), re.MULTILINE)
    for name in ("aws", "hf"):
        (tmp_path / name).write_text(f'#!/bin/sh\nprintf "%s\\n" {name} "$@" >> {tmp_path}/sent\n')
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for command in commands:
        hook, faults, _ = uploads(command)
        hook.start(tmp_path / "step-000012")
        await asyncio.wait_for(hook.finish(), HANG_S)
        assert not faults
    assert (tmp_path / "sent").read_text().splitlines() == [
        *("aws", "s3", "sync", f"{tmp_path}/step-000012", "s3://bucket/mine/step-000012"),
        *("hf", "upload", "ORGANISATION/NAME", f"{tmp_path}/step-000012/planner", "."),
        *("--private", "--commit-message", "step-000012"),
    ]


async def test_a_command_that_fails_is_one_line_and_one_count(tmp_path: Path) -> None:
    hook, faults, lines = uploads("echo one >&2; echo no bucket >&2; exit 3")
    hook.start(tmp_path / "a")
    await asyncio.wait_for(hook.finish(), HANG_S)
    assert faults == {"upload": 1}
    assert lines[-1] == f"the upload command for {tmp_path / 'a'} failed with exit code 3: no bucket"


async def test_a_command_that_is_late_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    hook, faults, lines = uploads("sleep 1000 & sleep 1000", 0.2)
    hook.start(tmp_path / "a")
    await asyncio.wait_for(hook.finish(), HANG_S)
    assert faults == {"upload": 1} and "did not end in 0.2 s" in lines[-1]
    sleeping = [child for child in psutil.Process().children(recursive=True) if child.name() == "sleep"]
    psutil.wait_procs(sleeping, timeout=HANG_S)
    assert not any(child.is_running() for child in sleeping)


async def test_a_killed_command_whose_pipe_stays_open_elsewhere_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracelift_ray.rl.uploads.KILL_S", 0.2)
    hook, faults, _ = uploads(f"setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 1000' & sleep 1000", 1.0)
    hook.start(tmp_path / "a")
    try:
        await asyncio.wait_for(hook.finish(), HANG_S)
    finally:
        psutil.Process(int((tmp_path / "pid").read_text())).kill()
    assert faults == {"upload": 1}


async def test_a_run_that_ends_at_once_kills_its_uploads(tmp_path: Path) -> None:
    hook, _, _ = uploads(f"touch {tmp_path}/begun; sleep 1000")
    hook.start(tmp_path / "a")
    ending = asyncio.create_task(hook.finish())
    while not (tmp_path / "begun").exists():
        await asyncio.sleep(0.01)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert not hook.in_use


async def test_nothing_is_removed_while_it_is_uploaded(tmp_path: Path) -> None:
    config = learner(
        keep_checkpoints=1,
        upload_command=f"while [ ! -e {tmp_path}/go ]; do sleep 0.01; done; test -e $TRACELIFT_SAVED/manifest.json",
    )
    faults: Counter[str] = Counter()
    saving = Saving(config, FakeLearner(), tmp_path / "checkpoints", faults, lambda line: None)
    for step in (1, 2, 3):
        await asyncio.wait_for(saving.checkpoint(step, {}, {}), HANG_S)
    assert len(list((tmp_path / "checkpoints").glob("step-*"))) == 3
    (tmp_path / "go").touch()
    await asyncio.wait_for(saving.uploads.finish(), HANG_S)
    assert not faults
    await saving.checkpoint(4, {}, {})
    assert sorted(p.name for p in (tmp_path / "checkpoints").glob("step-*")) == ["step-000004"]
    await asyncio.wait_for(saving.uploads.finish(), HANG_S)
