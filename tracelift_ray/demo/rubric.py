"""The demo world's rubric by rule: five labels from 0 to 4 and a total, from the problem and the text of a trace.

Every label is 4 without a fault of its aspect, 1 with one fault and 0 with more, but for the last, which has two
kinds of fault. A text that is not in the form of the world gets 0 everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from tracelift_ray.demo.traces import Line, parse, true_result
from tracelift_ray.demo.world import TASK_WORLDS, WordProblem

BEST = 4


def rubric_labels(problem: WordProblem, reasoning: str) -> tuple[int, ...]:
    """The five labels, each 0..4, in the order of the task's dimensions.

    1. understanding: steps written that the problem does not tell (problem_understanding, task_understanding);
    2. plan: steps told that are not written (solution_strategy, plan_quality);
    3. coherence: a line that does not start from the result before it (step_coherence);
    4. arithmetic: written results that are wrong (calculation_correctness; code: action_support, since the worked
       example is what supports the operations);
    5. restraint: a math answer given away costs 3, more lines than steps 2 (answer_support, non_leakage).
    """
    lines = parse(problem.task, reasoning)
    if lines is None:
        return (0,) * 5
    told = [(step.operation, step.operand) for step in problem.steps]
    written = [(line.operation, line.operand) for line in lines]
    common = common_lengths(written, told)[-1]
    breaks = sum(line.before != value for line, value in zip(lines, carried_values(problem.start, lines), strict=True))
    wrong = sum(line.after is not None and line.after != true_result(line) for line in lines)
    restraint = (
        BEST - 3 * (TASK_WORLDS[problem.task].answers and lines[-1].after is not None) - 2 * (len(lines) > len(told))
    )
    return (
        _label(len(written) - common),
        _label(len(told) - common),
        _label(breaks),
        _label(wrong),
        max(0, restraint),
    )


def rubric_total(labels: Sequence[int]) -> float:
    """Half the mean and half the least of the labels, in [0, 1]: one local fault is clearly visible."""
    return 0.5 * sum(labels) / (BEST * len(labels)) + 0.5 * min(labels) / BEST


def _label(faults: int) -> int:
    return BEST if faults == 0 else int(faults == 1)


def carried_values(start: int, lines: Sequence[Line]) -> list[int | None]:
    """What each line should begin with: the start value, then the written result of the line before."""
    return [start, *(line.after for line in lines[:-1])]


def common_lengths(left: Sequence[tuple[str, int]], right: Sequence[tuple[str, int]]) -> list[int]:
    """For each item of ``left``: the longest common subsequence of ``left`` up to it, and the whole of ``right``."""
    row = [0] * (len(right) + 1)
    lengths = []
    for item in left:
        above = row
        row = [0]
        for index, other in enumerate(right):
            row.append(above[index] + 1 if item == other else max(above[index + 1], row[index]))
        lengths.append(row[-1])
    return lengths
