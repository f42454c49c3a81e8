"""A run of 20,000 traces as real ones are: no two texts alike, of usual length, with several answers to each trace."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from tests.unit.tracking.worlds import group, trajectory
from tracelift_ray.tracking.records import trajectory_record
from tracelift_ray.types import Baseline, Outcome

GROUPS, TRACES, ANSWERS = 5_000, 4, 3
STATEMENT, TRACE, ANSWER = 500, 1_000, 400
OUTCOMES = get_args(Outcome)


class Prose:
    """Pieces of a long text of 3,000 words, used as often as words are; they compress as prose does."""

    def __init__(self, seed: int, characters: int = 4_000_000) -> None:
        self.draw = random.Random(seed)
        syllables = [a + b for a in "bcdfglmnprst" for b in ("a", "e", "i", "o", "u", "an", "er", "is")]
        words = ["".join(self.draw.choices(syllables, k=self.draw.randint(1, 3))) for _ in range(3_000)]
        used = [1 / rank for rank in range(1, len(words) + 1)]
        self.text = " ".join(self.draw.choices(words, used, k=characters // 6))

    def piece(self, characters: int) -> str:
        """Another piece of about so many characters."""
        begin = self.draw.randrange(len(self.text) - characters)
        return f"{self.draw.randrange(10**9)} {self.text[begin : begin + characters]}"


def write_long_run(run: Path, groups: int = GROUPS) -> Path:
    """The run with a group in each of its steps; see ``expected`` for what tells them apart."""
    prose = Prose(0)
    with (run / "trajectories.jsonl").open("w") as file:
        for step in range(1, groups + 1):
            for record in _records(step, prose):
                file.write(json.dumps(record) + "\n")
    return run


def _records(step: int, prose: Prose) -> list[dict[str, Any]]:
    """Trace 0 of each step passes; of the others the step decides the verdict. The last step's leaks."""
    outcome = OUTCOMES[step % len(OUTCOMES)]
    traces = [
        trajectory(
            index,
            outcomes=("passed" if index == 0 else outcome,) * ANSWERS,
            fresh="passed",
            rubric=0.5,
            uplift=step / GROUPS,
            reward=step / GROUPS,
            leaked=step == GROUPS,
            reasoning=prose.piece(TRACE),
        )
        for index in range(TRACES)
    ]
    baseline = Baseline(0, ANSWERS, executions=trajectory(outcomes=("wrong_answer",) * ANSWERS).executions)
    one = group(*traces, serial=step, baseline=baseline, statement=f"Problem {step}: {prose.piece(STATEMENT)}")
    one = replace(one, problem=replace(one.problem, id=f"p{step}"))
    records = [trajectory_record(step, one, each, 0.25) for each in traces]
    for record in records:
        for verdict in (*record["verdicts"], record["fresh"], *record["baseline_verdicts"]):
            verdict["artifact"] = prose.piece(ANSWER)
    records[-1]["verdicts"][-1]["artifact"] += f" the end of {step}."
    return records
