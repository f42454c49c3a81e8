"""Long work is never silent, and says nothing beside what is printed anyway."""

from __future__ import annotations

import asyncio
import io

import pytest
from rich.console import Console

from tracelift_ray.tracking import console
from tracelift_ray.tracking.alive import SILENT_S, TICK_S, alive, time_left
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
