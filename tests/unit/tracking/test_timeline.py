"""The trace for Perfetto: what is noted, what is forgotten, and the file, read back."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.unit.pools.members import started
from tests.unit.rl.test_rollout import answers, plans, rollout, ticket
from tracelift_ray.rl.watchdog import Stages
from tracelift_ray.tracking import timeline as module
from tracelift_ray.tracking.timeline import Span, Timeline, lanes, trace_events


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def made(path: Path, steps: int = 2) -> tuple[Timeline, Clock, list[str]]:
    clock, said = Clock(), list[str]()
    return Timeline(path, steps, said.append, clock), clock, said


def read(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt") as file:
        return json.load(file)["traceEvents"]


def spans(events: list[dict[str, Any]]) -> dict[tuple[str, str], list[tuple[str, int, int]]]:
    """Name, begin and length in microseconds of the complete events, by process and track."""
    names = {
        (each["name"], each["pid"], each["tid"]): each["args"]["name"]
        for each in events
        if "tid" in each and "args" in each
    }
    found = defaultdict(list)
    for each in (each for each in events if each["ph"] == "X"):
        process, track = names["process_name", each["pid"], 0], names["thread_name", each["pid"], each["tid"]]
        found[process, track].append((each["name"], each["ts"], each["dur"]))
    return found


def test_the_file_holds_the_last_steps_and_forgets_what_ended_before(tmp_path: Path) -> None:
    path = tmp_path / "timeline.json.gz"
    timeline, clock, said = made(path)
    for step in range(1, 6):
        began, clock.now = clock.now, clock.now + 1.0
        timeline.of_loop("rollout", began)
        timeline.of_pool("planner")("0", "generate", began + 0.5)
        timeline.step_ended(step, 1.0)
    timeline.close()
    timeline.close()
    found = spans(read(path))
    steps = [name for name, _, _ in found["loop", "steps"]]
    assert steps[-2:] == ["step 4", "step 5"] and len(steps) <= 3  # one that ended where they began may be there
    assert all(length == 1_000_000 for _, _, length in found["loop", "steps"])
    assert len(found["pool planner", "0"]) == len(found["loop", "steps"]) and said == []


def test_a_step_is_as_long_as_it_took_though_the_run_was_long_in_starting(tmp_path: Path) -> None:
    timeline, clock, _ = made(tmp_path / "t.gz")
    clock.now = 30.0
    timeline.step_ended(1, 2.0)
    timeline.close()
    assert spans(read(tmp_path / "t.gz"))["loop", "steps"] == [("step 1", 0, 2_000_000)]


def test_memory_is_bounded(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "MOST_SPANS", 10)
    timeline, _, _ = made(tmp_path / "t.gz")
    for _ in range(50):
        timeline.of_loop("rollout", 0.0)
    assert len(timeline._spans) == 10


def test_spans_that_overlap_lie_in_lanes_of_one_track() -> None:
    overlapping = [
        Span("p", "t", str(place), since, until)
        for place, (since, until) in enumerate([(0, 3), (1, 2), (2, 4), (3, 5)])
    ]
    assert [[span.name for span in lane] for lane in lanes(overlapping)] == [["0", "3"], ["1", "2"]]
    threads = [each for each in trace_events(overlapping) if each["name"] == "thread_name"]
    assert [each["args"]["name"] for each in threads] == ["t", "t"] and len({each["tid"] for each in threads}) == 2


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    timeline, _, said = made(tmp_path / "missing" / "t.gz")
    timeline.of_loop("rollout", 0.0)
    timeline.close()
    assert len(said) == 1 and said[0].endswith("was not written: No such file or directory")


async def test_groups_pools_and_the_loop_tell_of_their_work(tmp_path: Path) -> None:
    path = tmp_path / "timeline.json.gz"
    timeline = Timeline(path, 2, print, asyncio.get_running_loop().time)
    running = rollout(plans("4 + 1 </reasoning>", "5 </reasoning>"), answers())
    running.observe = timeline.of_group
    group = await running.run(ticket())
    pool, _ = await started()
    pool.observe(timeline.of_pool(pool.name))
    await pool.call("work", 0.01)
    stages = Stages(asyncio.get_running_loop().time)
    stages.observe = timeline.of_loop
    with stages.within("update"):
        await asyncio.sleep(0.01)
    await pool.close()
    timeline.close()
    found = {key: [name for name, _, _ in each] for key, each in spans(read(path)).items()}
    assert found["groups", "group"] == found["groups", "baseline"] == [f"group {group.serial}"]
    for stage in ("write", "execute", "score"):
        assert sorted(found["groups", stage]) == [f"trace {group.serial}.{index}" for index in range(2)]
    assert found["pool worker", "0.0"] == ["work"] and found["loop", "stages"] == ["update"]
