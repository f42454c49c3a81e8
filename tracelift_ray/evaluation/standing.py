"""Where a training run is, in one line for a person who waits for the next step."""

from __future__ import annotations

from tracelift_ray.evaluation.heldout import HeldOutEvaluation
from tracelift_ray.rl.loop import TrainingLoop


def standing(loop: TrainingLoop, evaluation: HeldOutEvaluation) -> str:
    """The evaluation's progress while there is one, else the step's: its groups, or that the learner works."""
    if (evaluating := evaluation.standing()) is not None:
        return evaluating
    step = f"step {loop.progress.step + 1}/{loop.run.total_steps}"
    counted = loop.scheduler.gathered()
    if counted is None:
        return f"{step}: update, broadcast or save under way"
    ledger = loop.scheduler.ledger
    ready, running = ledger.count("ready"), ledger.count("running")
    return f"{step}: {counted[0]} of {counted[1]} groups done, {ready} more ready, {running} running"
