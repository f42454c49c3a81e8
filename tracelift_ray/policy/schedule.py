"""The learning rate as a pure function of the optimizer step, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math

from tracelift_ray.config.schema import LearnerConfig


def learning_rate(config: LearnerConfig, step: int, total_steps: int) -> float:
    """Learning rate of optimizer step ``step`` (counted from 0) of ``total_steps``.

    Rises linearly over ``warmup_steps`` to ``lr``, which the last warm-up step reaches. Then ``constant`` stays,
    ``linear`` falls in a line and ``cosine`` in half a cosine wave; both would reach 0 one step after the last.
    Steps beyond ``total_steps`` keep the rate of the last one, so a prolonged run never trains at rate 0.
    """
    if total_steps < 1:
        raise ValueError(f"total_steps is {total_steps}; a schedule needs at least one step")
    step = min(max(step, 0), total_steps - 1)
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps)
    if config.schedule == "constant":
        return config.lr
    if config.schedule == "linear":
        return config.lr * (1.0 - progress)
    if config.schedule == "cosine":
        return config.lr * 0.5 * (1.0 + math.cos(math.pi * progress))
    raise ValueError(f"learner.schedule is {config.schedule!r}; it must be constant, linear or cosine")
