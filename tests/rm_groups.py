"""Trace groups that a tiny reward model learns in seconds: a good trace adds, a flawed one subtracts somewhere."""

from __future__ import annotations

import random

from tracelift_ray.data.groups import GroupTrace, TraceGroup
from tracelift_ray.types import Problem


def adding_groups(count: int, negatives: int = 5, seed: int = 0) -> list[TraceGroup]:
    """``count`` math groups whose words are all in the ``word`` tokenizer of ``tests.tiny``; at most 9 negatives."""
    rng = random.Random(seed)
    groups = []
    for number in range(count):
        values = rng.sample(range(100), 4)
        good = " plus ".join(map(str, values))
        bad = []
        for place in range(negatives):
            signs = ["plus"] * 3
            signs[place % 3] = "minus"
            turn = place // 3
            added = values[1 + turn :] + values[1 : 1 + turn]
            rest = (f"{sign} {value}" for sign, value in zip(signs, added, strict=True))
            bad.append(GroupTrace(f"{values[0]} {' '.join(rest)}", (4, 1, 3, 2, 0), 0.25, f"minus_{place % 3}"))
        problem = Problem(
            id=f"adding-{number}",
            task="math",
            statement=f"add the number {' and '.join(map(str, values))}",
            task_type="math",
            answer=str(sum(values)),
        )
        groups.append(TraceGroup(problem, (GroupTrace(good, (4, 4, 4, 4, 4), 1.0),), tuple(bad), "adding"))
    return groups
