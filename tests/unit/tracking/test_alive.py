"""Long work is never silent, and says nothing beside what is printed anyway."""

from __future__ import annotations

import asyncio
import io
import threading

import pytest
from rich.console import Console

from tests.hang import HANG_S
from tracelift_ray.tracking import alive as alive_module
from tracelift_ray.tracking import console
from tracelift_ray.tracking.alive import SILENT_S, TICK_S, Heartbeat, alive, heartbeat, time_left
from tracelift_ray.tracking.console import QUIET_S, ConsoleReporter


async def test_work_is_described_again_and_again_until_it_ends() -> None:
    said: list[str] = []
    stages = iter(["one", None, *["two"] * 99])
    with pytest.raises(RuntimeError, match="ended"):
        async with alive(said.append, lambda: next(stages), 0.001):
            while said != ["one", "two"]:
                await asyncio.sleep(0)
            raise RuntimeError("ended")
    await asyncio.sleep(0.01)
    assert said == ["one", "two"]


def test_a_heartbeat_says_what_goes_on_only_where_nothing_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, said = [100.0], list[str]()
    monkeypatch.setattr(alive_module, "monotonic", lambda: clock[0])
    beat = Heartbeat(said.append, "loading")

    def beat_at(*times: float) -> None:
        for clock[0] in times:
            beat.beat()

    beat_at(109, 110, 119, 120)
    beat.say("step 1")
    beat.doing("steps", 1, 9)
    beat_at(129)
    beat.doing("steps", 2, 9)
    beat_at(130)
    beat.doing("evaluating", 0, 5)
    beat.doing("steps", 3, 9)
    beat_at(140)
    beat.doing("steps", 0, 9)
    beat_at(150)
    beat.heard()
    beat_at(169)
    assert said == [
        "loading, 0:00:10 so far",
        "loading, 0:00:20 so far",
        "step 1",
        "steps: 2 of 9, ETA 0:01:10",
        "steps: 3 of 9, ETA 0:01:00",
        "steps: 0 of 9, ETA ?",
    ]


def test_a_heartbeat_ends_with_its_work_and_not_with_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alive_module, "SILENT_S", 0.001)
    called = threading.Event()

    def full(line: str) -> None:
        called.set()
        raise OSError(28, "No space left on device")

    before = threading.active_count()
    with heartbeat(full, "loading"):
        assert called.wait(HANG_S)
    assert threading.active_count() == before


def test_a_console_prints_progress_only_where_it_was_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    out = io.StringIO()
    reporter = ConsoleReporter(3, 0, Console(file=out, width=80))
    for second in range(60):
        now = 100.0 + second
        if second % TICK_S == 0:
            reporter.progress(f"step 1/3: {second} s")
    lines = [int(line.split()[2]) for line in out.getvalue().splitlines()]
    assert lines == list(range(int(QUIET_S), 60, int(QUIET_S))) and QUIET_S + TICK_S <= SILENT_S
    now += QUIET_S - 1
    reporter.message("step done")
    reporter.progress("at once after it")
    assert out.getvalue().splitlines()[-1] == "step done"


def test_on_a_terminal_progress_stands_beside_the_bar() -> None:
    out = io.StringIO()
    reporter = ConsoleReporter(3, 0, Console(file=out, force_terminal=True, width=120))
    reporter.progress("step 1/3: 2 of 8 groups [done]")
    reporter.close()
    assert "step 1/3: 2 of 8 groups [done]" in out.getvalue()


def test_the_time_left_follows_the_pace() -> None:
    assert (time_left(0, 10, 5.0), time_left(5, 10, 60.0), time_left(1, 3, 3600.0)) == ("?", "0:01:00", "2:00:00")
