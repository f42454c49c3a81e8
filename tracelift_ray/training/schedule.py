"""The learning rate as a pure function of the optimizer step, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math


def learning_rate(step: int, total_steps: int, *, peak: float, schedule: str, warmup_steps: int) -> float:
    """Learning rate of optimizer step ``step`` (counted from 0) of ``total_steps``.

    Rises linearly over ``warmup_steps`` to ``peak``, which the last warm-up step reaches. Then ``constant`` stays,
    ``linear`` falls in a line and ``cosine`` in half a cosine wave; both would reach 0 one step after the last.
    Steps beyond ``total_steps`` keep the rate of the last one, so a prolonged run never trains at rate 0.
    """
    if total_steps < 1:
        raise ValueError(f"total_steps is {total_steps}; a schedule needs at least one step")
    step = min(max(step, 0), total_steps - 1)
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    if schedule == "constant":
        return peak
    if schedule == "linear":
        return peak * (1.0 - progress)
    if schedule == "cosine":
        return peak * 0.5 * (1.0 + math.cos(math.pi * progress))
    raise ValueError(f"the schedule is {schedule!r}; it must be constant, linear or cosine")
