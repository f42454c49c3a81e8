"""Makes TraceLift-Groups from problems with worked solutions: the solution is the good trace, spoiled copies the bad.

No model is asked: flaws and rubrics are by rule (``flaws.py``). The same problems and seed give the same groups; a
problem's group depends on nothing but the problem and the seed.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tracelift_ray.data.groups import MAX_LABEL, GroupTrace, TraceGroup
from tracelift_ray.groups.equations import NUMBER, WITHHELD, read_number, replace_numbers
from tracelift_ray.groups.flaws import FLAWS, Lines
from tracelift_ray.types import Problem

BEST_LABELS = (MAX_LABEL,) * 5
_RESULT = re.compile(rf"=\s*\$?(?P<result>{NUMBER.pattern})")
_TRIES_PER_NEGATIVE = 6


@dataclass(frozen=True)
class BuildReport:
    """What became of the problems: negatives by kind, and problems without a group by reason."""

    groups: int
    kinds: dict[str, int]
    left_out: dict[str, int]


def build_groups(
    problems: Sequence[Problem],
    *,
    source: str,
    negatives: int,
    seed: int,
    max_trace_chars: int,
    withhold_answer: bool,
) -> tuple[list[TraceGroup], BuildReport]:
    """One group for every math problem whose solution can be spoiled.

    Args:
        source: what the groups say of where they come from.
        negatives: at most this many bad traces a group, all different; fewer where the solution offers fewer.
        max_trace_chars: longer solutions make no group.
        withhold_answer: every trace, good or bad, has ``?`` for the result of its last equation.
    """
    groups: list[TraceGroup] = []
    left_out: Counter[str] = Counter()
    for problem in problems:
        reason = _unusable(problem, max_trace_chars)
        lines = solution_lines(problem, withhold_answer)
        rng = random.Random(f"groups {seed} {problem.id}")
        bad = () if reason else spoil(lines, problem.statement, negatives, rng)
        if reason is None and not bad:
            reason = "nothing to spoil"
        if reason is not None:
            left_out[reason] += 1
            continue
        good = GroupTrace("\n".join(lines), BEST_LABELS, rubric_total(BEST_LABELS))
        groups.append(TraceGroup(problem, (good,), bad, source, {"negatives": "by rule"}))
    kinds = Counter(trace.negative_kind or "" for group in groups for trace in group.negatives)
    return groups, BuildReport(len(groups), dict(kinds.most_common()), dict(left_out.most_common()))


def spoil(lines: Lines, statement: str, count: int, rng: random.Random) -> tuple[GroupTrace, ...]:
    """Up to ``count`` different flawed copies of a solution, the kinds as even as they can be."""
    seen = {lines}
    traces: list[GroupTrace] = []
    order = rng.sample(FLAWS, len(FLAWS))
    for attempt in range(_TRIES_PER_NEGATIVE * count):
        if len(traces) == count:
            break
        flaw = order[attempt % len(order)]
        spoiled = flaw.apply(lines, statement, rng)
        if spoiled is not None and spoiled not in seen:
            seen.add(spoiled)
            traces.append(GroupTrace("\n".join(spoiled), flaw.labels, rubric_total(flaw.labels), flaw.kind))
    return tuple(traces)


def solution_lines(problem: Problem, withhold_answer: bool) -> Lines:
    """The steps of a problem's solution, without empty lines."""
    text = problem.solution or ""
    if withhold_answer:
        text = without_last_result(text)
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def without_last_result(text: str) -> str:
    """The text with ``?`` for the result of its last equation, there and wherever it is mentioned after that."""
    results = list(_RESULT.finditer(text))
    value = read_number(results[-1]["result"]) if results else None
    if value is None:
        return text
    start = results[-1].start("result")
    return text[:start] + replace_numbers(text[start:], {value: WITHHELD})


def rubric_total(labels: Sequence[int]) -> float:
    """Half the mean and half the least of the labels, in [0, 1], so that one grave flaw counts."""
    return 0.5 * sum(labels) / (MAX_LABEL * len(labels)) + 0.5 * min(labels) / MAX_LABEL


def _unusable(problem: Problem, max_trace_chars: int) -> str | None:
    """Why the problem makes no group, or None."""
    if problem.task != "math":
        return "a program is no trace"
    if not problem.solution:
        return "no worked solution"
    return "solution too long" if len(problem.solution) > max_trace_chars else None
