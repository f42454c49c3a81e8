"""Where in a trace its faults show, word by word: what the demo's reasoning RM learns to see while it is trained.

Every mark follows from the problem and the words up to it, so a model that reads from left to right can know it there.
"""

from __future__ import annotations

from dataclasses import dataclass

from tracelift_ray.demo.rubric import carried_values, common_lengths
from tracelift_ray.demo.traces import parse, true_result
from tracelift_ray.demo.world import TASK_WORLDS, WordProblem

#: The aspects: the problem tells this step; the line begins with the value before it; the written result is right.
TOLD, CARRIED, WORKED = range(3)
NUM_ASPECTS = 3


@dataclass(frozen=True)
class FaultMark:
    """Whether the trace's word number ``word`` shows a fault of an aspect."""

    word: int
    aspect: int
    faulty: bool


def fault_marks(problem: WordProblem, reasoning: str) -> tuple[FaultMark, ...]:
    """The marks of a trace, line by line; none for a text that is not in the form of the world."""
    lines = parse(problem.task, reasoning)
    if lines is None:
        return ()
    told = [(step.operation, step.operand) for step in problem.steps]
    common = [0, *common_lengths([(line.operation, line.operand) for line in lines], told)]
    carried = carried_values(problem.start, lines)
    places = TASK_WORLDS[problem.task].word_places
    marks: list[FaultMark] = []
    first = 0
    for index, (line, text) in enumerate(zip(lines, reasoning.split(" ; "), strict=True)):
        marks.append(FaultMark(first + places[TOLD], TOLD, common[index + 1] == common[index]))
        marks.append(FaultMark(first + places[CARRIED], CARRIED, line.before != carried[index]))
        if line.after is not None:
            marks.append(FaultMark(first + places[WORKED], WORKED, line.after != true_result(line)))
        first += len(text.split()) + 1
    return tuple(marks)
