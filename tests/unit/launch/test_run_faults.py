"""What a run lost stands in its summary and on the console, and says nothing where nothing was lost."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from launch.train import note_faults


class Told:
    def __init__(self) -> None:
        self.notes: dict[str, str] = {}
        self.lines: list[str] = []

    def note(self, name: str, text: str) -> None:
        self.notes[name] = text

    def message(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.parametrize(
    ("died", "failed", "text"),
    [(2.0, {"executor": 3}, "planner/died 2, executor 3"), (0.0, {}, "none")],
)
def test_faults_are_noted(died: float, failed: dict[str, int], text: str) -> None:
    told: Any = Told()
    metrics = {"pools/planner/restarts": 2.0, "faults/planner/died": died, "faults/nodes": 0.0}
    note_faults(metrics, Counter(failed), told)
    assert told.notes == {"faults": text}
    assert told.lines == ([] if text == "none" else [f"faults since this start: {text}"])
