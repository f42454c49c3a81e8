"""Every wait has a bound: its own, or one from outside that ``bounded_elsewhere`` names."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tests.unit.bounded_elsewhere import BOUNDED_ELSEWHERE
from tests.waits import unbounded

ROOT = Path(__file__).resolve().parents[2]
#: Time is virtual there, and the clock names the tasks that wait when nothing can go on.
VIRTUAL = "tracelift_ray/simulation/"


def waits() -> dict[str, list[str]]:
    """Waits without a bound, by file and function."""
    found: dict[str, list[str]] = {}
    for layer in ("tracelift_ray", "actors", "launch"):
        for path in sorted((ROOT / layer).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            for function, line, text in unbounded(path.read_text()) if not name.startswith(VIRTUAL) else ():
                found.setdefault(f"{name}:{function}", []).append(f"line {line}: {text}")
    return found


def test_no_wait_is_unbounded() -> None:
    found = waits()
    assert {place: lines for place, lines in found.items() if place not in BOUNDED_ELSEWHERE} == {}
    assert [place for place in BOUNDED_ELSEWHERE if place not in found] == []  # an entry without its wait


@pytest.mark.parametrize(
    "line",
    [
        "await answer",
        "await self.answer",
        "await queue.get()",
        "queue.get()",
        "thread.join()",
        "await event.wait()",
        "asyncio.ensure_future(event.wait())",
        "await asyncio.wait(tasks)",
        "await asyncio.gather(*tasks)",
        "await asyncio.shield(task)",
        "asyncio.run_coroutine_threadsafe(work(), loop).result()",
        "ray.get(ref)",
        "ray.wait(refs)",
        "subprocess.run(command)",
        "process.communicate()",
        "os.waitpid(pid, 0)",
        "socket.create_connection(address)",
        "dist.init_process_group('gloo')",
        "dist.new_group(ranks)",
        "await request.read()",
        "async for chunk in stream: use(chunk)",
        "[chunk async for chunk in stream]",
        "async with self.lock: work()",
        "async with asyncio.timeout(None): await answer",
    ],
)
def test_a_wait_without_a_bound_is_found(line: str) -> None:
    assert [function for function, _, _ in unbounded(f"async def f():\n    {line}\n")][:1] == ["f"]


@pytest.mark.parametrize(
    "line",
    [
        "await work()",
        "await asyncio.wait_for(event.wait(), 3)",
        "await asyncio.wait_for(answer, timeout=3)",
        "await asyncio.wait(tasks, timeout=3)",
        "await asyncio.gather(*(work(each) for each in parts))",
        "async with asyncio.timeout(3): await answer",
        "queue.get(timeout=3)",
        "queue.get(block=False)",
        "thread.join(3)",
        "event.wait(3)",
        "names.get('a')",
        "', '.join(names)",
        "task.result()",
        "ray.get(ref, timeout=3)",
        "subprocess.run(command, timeout=3)",
        "os.waitpid(pid, os.WNOHANG)",
        "dist.init_process_group('gloo', timeout=limit)",
        "dist.all_reduce(sums)",
    ],
)
def test_a_wait_with_a_bound_is_not_found(line: str) -> None:
    assert list(unbounded(f"async def f():\n    {line}\n")) == []


def test_a_bound_does_not_reach_into_a_function_that_is_defined_under_it() -> None:
    source = """
        async def f():
            async with asyncio.timeout(3):
                async def g():
                    await answer
        class Made:
            def __init__(self):
                self._places = asyncio.Semaphore(3)
            async def use(self):
                async with self._places:
                    work()
    """
    assert [function for function, _, _ in unbounded(dedent(source))] == ["f.g", "Made.use"]
