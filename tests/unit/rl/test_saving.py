"""What a save asks of the disk holds up nothing else, and is whole or not there where the run is ended meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.configs import run_config
from tests.hang import HANG_S
from tests.unit.rl.fakes import FakeLearner
from tracelift_ray.rl.saving import Saving
from tracelift_ray.training import checkpoint


class Disk:
    """Takes its time until it is let go."""

    def __init__(self, work: Callable[..., Any]) -> None:
        self._work = work
        self.asked, self.may_end = threading.Event(), threading.Event()

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.asked.set()
        assert self.may_end.wait(HANG_S), "everything else waits for the disk"
        return self._work(*args, **options)

    async def reached(self) -> None:
        while not self.asked.is_set():
            await asyncio.sleep(0.001)


def saving(folder: Path) -> Saving:
    return Saving(run_config().learner, FakeLearner(), folder / "checkpoints", Counter(), lambda line: None)


async def save(saves: Saving, kind: str) -> None:
    await (saves.export(1) if kind == "exports" else saves.checkpoint(1, {}, {}))


@pytest.mark.parametrize("kind", ["checkpoints", "exports"])
@pytest.mark.parametrize("slow", ["_flush_tree", "prune"])
async def test_all_else_goes_on_while_the_disk_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: str, kind: str
) -> None:
    disk = Disk(getattr(checkpoint, slow))
    monkeypatch.setattr(checkpoint, slow, disk)
    work = asyncio.create_task(save(saving(tmp_path), kind))
    async with asyncio.timeout(HANG_S):
        await disk.reached()
        assert not work.done()
        disk.may_end.set()
        await work
    assert [path.name for path in (tmp_path / kind).iterdir()] == ["step-000001"]


async def test_a_save_that_is_ended_while_the_disk_works_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(checkpoint._flush_tree)
    monkeypatch.setattr(checkpoint, "_flush_tree", disk)
    saves = saving(tmp_path)
    work = asyncio.create_task(save(saves, "checkpoints"))
    async with asyncio.timeout(HANG_S):
        await disk.reached()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        disk.may_end.set()
        await asyncio.get_running_loop().shutdown_default_executor()
    assert list(saves.checkpoints.iterdir()) == [] and saves.newest is None


async def test_a_disk_that_is_full_is_told_from_the_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(root: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_flush_tree", full)
    saves = saving(tmp_path)
    with pytest.raises(checkpoint.CheckpointError, match="the disk is full"):
        await save(saves, "checkpoints")
    assert list(saves.checkpoints.iterdir()) == []
