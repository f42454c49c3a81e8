"""Seconds from the command that trains the demo to its first trace and to its first optimizer step.

    python -m benchmarks.startup [--rounds 3] [-- key=value ...]

The command is ``python -m launch.train experiment=quickstart``, with one step and what stands after ``--``. It runs in
a process of this module that notes the time of the first trace that any planner engine gives, and of the end of the
first update; the clock starts before that process does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, deliver, median, parser, turns

#: Where the process that trains writes its times, a line each.
NOTES = "TRACELIFT_BENCH_NOTES"
TRACE, STEP = "first trace", "first optimizer step"
COMMAND = ("experiment=quickstart", "total_steps=1", "resume=never", "name=startup")
GOAL_S = 30.0
LIMIT_S = 300.0


def measure(overrides: list[str]) -> dict[str, float]:
    """Seconds to each event of one start."""
    with tempfile.TemporaryDirectory() as directory:
        notes = Path(directory) / "notes"
        began = time.time()
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.startup", "--train", *COMMAND, f"runs_root={directory}", *overrides],
            env=os.environ | {NOTES: str(notes)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the run failed:\n{done.stdout[-3000:]}")
        times = dict(line.rsplit(" ", 1) for line in notes.read_text().splitlines())
    return {name: float(at) - began for name, at in times.items()}


def train(overrides: list[str]) -> None:
    """Train as the command does, and note when things happen first."""
    from actors.learner import RayLearnerGroup
    from launch.train import main
    from tracelift_ray.rl.system import PlannerExecutorSystem

    _note_first(PlannerExecutorSystem, "trace", TRACE)
    _note_first(RayLearnerGroup, "update", STEP)
    sys.argv = ["train", *overrides]
    main()


def _note_first(owner: Any, method: str, name: str) -> None:
    """Note when a coroutine method of a class first returns."""
    original, notes = getattr(owner, method), Path(os.environ[NOTES])

    async def noting(*args: Any, **options: Any) -> Any:
        result = await original(*args, **options)
        if getattr(owner, method) is noting:
            setattr(owner, method, original)
            with notes.open("a") as file:
                file.write(f"{name} {time.time()}\n")
        return result

    setattr(owner, method, noting)


def figures(rounds: Iterable[int], overrides: list[str]) -> list[Figure]:
    """Medians of several starts."""
    starts = []
    for number in rounds:
        starts.append(measure(overrides))
        print(f"round {number}: " + ", ".join(f"{name} {s:.1f} s" for name, s in starts[-1].items()), flush=True)
    return [
        median(f"demo, command to {name}", [each[name] for each in starts], "s", "lower", goal=goal)
        for name, goal in ((TRACE, None), (STEP, GOAL_S))
    ]


def main() -> None:
    """Measure and print, or be the process that trains."""
    if sys.argv[1:2] == ["--train"]:
        train(sys.argv[2:])
        return
    command = parser(__doc__, rounds=3)
    command.add_argument("overrides", nargs="*", help="after --")
    options = command.parse_args()
    deliver(options, figures(turns(options, first=1), options.overrides))


if __name__ == "__main__":
    main()
